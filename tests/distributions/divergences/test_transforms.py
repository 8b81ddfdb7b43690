"""Divergences of fractions and sticks under torch.func: forward and reverse mode, vmap with one side shared."""

import pyro.distributions as dist
import pytest
import torch
from torch.distributions import kl_divergence

from pyrodgm.distributions import (
    BetaLogit,
    GammaRatioLogit,
    GEMLogits,
    Kumaraswamy,
    KumaraswamyLogit,
    LogitNormal,
    LogitOf,
    NormalLogit,
    SmallShapeGammaRatio,
    StickLogits,
    logits_of,
)

LOGITS = [
    (KumaraswamyLogit, BetaLogit),
    (KumaraswamyLogit, KumaraswamyLogit),
    (BetaLogit, BetaLogit),
    (BetaLogit, KumaraswamyLogit),
    (GammaRatioLogit, BetaLogit),
    (NormalLogit, BetaLogit),
    (NormalLogit, NormalLogit),
]
FRACTIONS = [(Kumaraswamy, dist.Beta), (dist.Beta, Kumaraswamy), (LogitNormal, dist.Beta), (LogitNormal, LogitNormal)]
FRACTIONS += [(SmallShapeGammaRatio, dist.Beta), (Kumaraswamy, Kumaraswamy)]
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
each_pair = pytest.mark.parametrize(
    "families", [*LOGITS, *FRACTIONS], ids=lambda pair: "-".join(f.__name__ for f in pair)
)


def divergence(families):
    def of(a, b, c, d):
        return kl_divergence(families[0](a, b, validate_args=False), families[1](c, d, validate_args=False))

    return of


@each_dtype
@each_pair
def test_forward_mode_is_reverse_mode(families, dtype):
    values = tuple(torch.rand(4, 5, dtype=dtype) + 0.3)
    directions = tuple(torch.randn(4, 5, dtype=dtype))
    total = lambda *values: divergence(families)(*values).sum()  # noqa: E731
    primal, tangent = torch.func.jvp(total, values, directions)
    slopes = torch.func.grad(total, (0, 1, 2, 3))(*values)
    assert primal.dtype == dtype
    expected = sum((slope * direction).sum() for slope, direction in zip(slopes, directions, strict=True))
    torch.testing.assert_close(tangent, expected, rtol=1e-4, atol=1e-4)
    single = dtype == torch.float32
    wide = torch.func.grad(total, (0, 1, 2, 3))(*(v.double() for v in values))
    torch.testing.assert_close([s.double() for s in slopes], list(wide), rtol=1e-4 if single else 1e-9, atol=1e-4)


@pytest.mark.slow
@each_dtype
@each_pair
def test_vmap_with_either_side_shared(families, dtype):
    a, b, c, d = torch.rand(4, 6, dtype=dtype) + 0.3
    of = divergence(families)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(torch.func.vmap(of)(a, b, c, d), of(a, b, c, d), **tolerance)
    shared = torch.func.vmap(of, (None, None, 0, 0))(a[0], b[0], c, d)
    torch.testing.assert_close(shared, of(a[0], b[0], c, d), **tolerance)
    for dims in ((0, 0, None, None), (0, None, 0, None), (None, 0, None, 0)):
        given = [x if dim == 0 else x[0] for x, dim in zip((a, b, c, d), dims, strict=True)]
        torch.testing.assert_close(torch.func.vmap(of, dims)(*given), of(*given), **tolerance)
        slopes = torch.func.vmap(torch.func.grad(of, (0, 1, 2, 3)), dims)(*given)
        assert all(slope.isfinite().all() for slope in slopes)
        tangents = [torch.ones_like(x) for x in given]
        pushed = torch.func.vmap(lambda *both: torch.func.jvp(of, both[:4], both[4:])[1], dims + dims)
        torch.testing.assert_close(pushed(*given, *tangents), sum(slopes), rtol=1e-3, atol=1e-3)


@each_pair
def test_fractions_and_their_logits_have_one_divergence(families):
    if families not in FRACTIONS:
        pytest.skip("logits already")
    p, q = (family(torch.rand(5) + 0.3, torch.rand(5) + 0.3) for family in families)
    torch.testing.assert_close(kl_divergence(logits_of(p), logits_of(q)), kl_divergence(p, q))


def test_change_of_variable_keeps_the_divergence():
    p, q = dist.Beta(torch.ones(3), 2.0 * torch.ones(3)), dist.Beta(torch.ones(3), 4.0 * torch.ones(3))
    torch.testing.assert_close(kl_divergence(LogitOf(p), LogitOf(q)), kl_divergence(p, q))
    sticks = kl_divergence(StickLogits(logits_of(p)), GEMLogits(torch.tensor(4.0), 4))
    torch.testing.assert_close(sticks, kl_divergence(p, q).sum())


def test_forward_over_reverse_is_not_silently_wrong():
    of = divergence((KumaraswamyLogit, BetaLogit))
    a, b, c, d = torch.rand(4) + 0.5
    assert torch.func.hessian(lambda a: of(a, b, c, d))(a).isnan()
