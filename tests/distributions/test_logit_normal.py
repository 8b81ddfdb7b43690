"""LogitNormal over a wide range, against mpmath."""

import mpmath as mp
import pytest
import torch

from pyrodgm.distributions import Kumaraswamy, LogitNormal, SmallShapeGammaRatio

PARAMETERS = [(0.0, 1.0), (-9.0, 0.02), (4.0, 30.0), (25.0, 3.0), (0.5, 0.5)]


def expectation(loc, scale, function):
    with mp.workdps(25):
        loc, scale = mp.mpf(loc), mp.mpf(scale)
        edge = min(max(-loc / scale, -11), 11)
        cuts = {
            -13,
            -6,
            -3,
            0,
            3,
            6,
            13,
            edge,
            *(edge + j / scale for j in (-10, -3, 3, 10) if abs(edge + j / scale) < 13),
        }
        return mp.quad(lambda z: mp.npdf(z) * function(loc + scale * z), sorted(cuts))


def sigmoid(t):
    return 1 / (1 + mp.exp(-t))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_moments_and_entropy(dtype):
    d = LogitNormal(*torch.tensor(PARAMETERS, dtype=dtype).unbind(-1))
    tolerance = 1e-6 if dtype == torch.float32 else 1e-10
    for i in range(len(PARAMETERS)):
        loc, scale = d.loc[i].item(), d.scale[i].item()
        mean = expectation(loc, scale, sigmoid)
        square = expectation(loc, scale, lambda t: sigmoid(t) ** 2)
        assert abs(d.mean[i].item() - mean) < tolerance
        assert abs(d.variance[i].item() - (square - mean**2)) < tolerance
        logs = expectation(loc, scale, lambda t: -mp.log1p(mp.exp(-t)) - mp.log1p(mp.exp(t)))
        entropy = logs + mp.log(2 * mp.pi * mp.e) / 2 + mp.log(scale)
        assert abs(d.entropy()[i].item() - entropy) < 1e2 * tolerance


def test_cdf_icdf_median():
    d = LogitNormal(*torch.tensor(PARAMETERS).unbind(-1))
    probability = torch.tensor([[1e-12], [0.01], [0.5], [0.9]])
    logits = d.logits
    torch.testing.assert_close(logits.cdf(logits.icdf(probability)), probability.expand(4, 5), rtol=1e-8, atol=0)
    torch.testing.assert_close(d.icdf(probability), logits.icdf(probability).sigmoid(), rtol=1e-12, atol=2e-16)
    torch.testing.assert_close(d.median, d.loc.sigmoid())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "d",
    [
        lambda one: Kumaraswamy(one, 0.01 * one),
        lambda one: Kumaraswamy(0.01 * one, one),
        lambda one: LogitNormal(60.0 * one, 9.0 * one),
        lambda one: LogitNormal(-300.0 * one, 99.0 * one),
        lambda one: SmallShapeGammaRatio(0.01 * one, 0.01 * one),
    ],
)
def test_distribution_functions_at_and_next_to_the_ends(d, dtype):
    d = d(torch.ones((), dtype=dtype))
    ends = torch.tensor([0.0, 1.0], dtype=dtype)
    assert torch.equal(d.cdf(ends), ends)
    inside = torch.nextafter(ends, torch.tensor(0.5, dtype=dtype))
    assert ((d.cdf(inside) > 0) & (d.cdf(inside) < 1)).any()
    draws = d.logits.sample((1000,))
    assert abs(d.logits.cdf(draws).mean() - 0.5) < 0.06
    ends.requires_grad_()
    (slope,) = torch.autograd.grad(d.cdf(ends).sum(), ends)
    assert slope.isfinite().all()
    unchecked = type(d)(*(getattr(d, name) for name in d.arg_constraints), validate_args=False)
    outside = torch.tensor([-1.0, 2.0], dtype=dtype)
    assert torch.equal(unchecked.cdf(outside), torch.tensor([0.0, 1.0], dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 30.0])
def test_gradients_are_finite_far_from_the_middle(dtype, scale):
    loc = torch.tensor([-1e3, -80.0, 0.0, 80.0, 1e3], dtype=dtype, requires_grad=True)
    spread = torch.full((5,), scale, dtype=dtype, requires_grad=True)
    for d in (LogitNormal(loc, spread), LogitNormal(loc, spread).logits):
        value = d.rsample((1000,))
        for at in (value, value.detach(), value.detach().requires_grad_()):
            log_prob = d.log_prob(at)
            assert log_prob.isfinite().all()
            inputs = [loc, spread, *([at] if at.is_leaf and at.requires_grad else [])]
            assert all(g.isfinite().all() for g in torch.autograd.grad(log_prob.sum(), inputs, retain_graph=True))


def test_gradients_finite_in_float32():
    loc = torch.tensor([-80.0, 0.0, 80.0], dtype=torch.float32, requires_grad=True)
    log_scale = torch.tensor([[-7.0], [0.0], [5.0]], dtype=torch.float32, requires_grad=True)
    d = LogitNormal(loc, log_scale.exp())
    value = d.rsample((1000,))
    for result in (d.log_prob(value), d.mean, d.variance, d.entropy(), value):
        assert result.isfinite().all()
        for gradient in torch.autograd.grad(result.sum(), (loc, log_scale), retain_graph=True):
            assert gradient.isfinite().all()
