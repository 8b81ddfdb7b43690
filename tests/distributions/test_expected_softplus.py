"""E[softplus] under exponential and Normal noise, with both derivatives, against mpmath."""

import mpmath as mp
import pytest
import torch

from pyrodgm.distributions.expected_softplus import expected_softplus_exponential, expected_softplus_normal

LOCS, SCALES = (-9.0, -2.0, 0.0, 0.7, 30.0), (0.01, 0.9, 0.999, 1.001, 3.0, 100.0)


def terms(t, noise):
    """softplus(t) and its derivatives by loc and scale."""
    softplus, slope = mp.log1p(mp.exp(-abs(t))) + max(t, 0), 1 / (1 + mp.exp(-t))
    return softplus, slope, slope * noise


def normal(loc, scale):
    edge = min(max(-loc / scale, -12), 12)
    near = [edge + j / scale for j in (-30, -10, -3, 3, 10, 30) if abs(edge + j / scale) < 14]
    cuts = sorted({-14, -8, -3, 0, 3, 8, 14, edge, *near})
    return [mp.quad(lambda z, i=i: mp.npdf(z) * terms(loc + scale * z, z)[i], cuts) for i in range(3)]


def exponential(loc, scale):
    bend = [-loc / scale] if 0 < -loc / scale < 60 else []
    cuts = sorted({0, 0.01, 0.1, 1, 10, 60, *bend})
    return [mp.quad(lambda e, i=i: mp.exp(-e) * terms(loc + scale * e, e)[i], cuts) for i in range(3)]


def errors(function, oracle, loc, scale):
    """Largest relative error of value and derivatives, with the nodes of double and of single precision."""
    with mp.workdps(16):
        expected = oracle(loc, scale)
    for single in (False, True):
        params = [torch.tensor(value, requires_grad=True) for value in (loc, scale)]
        value = function(*params, single)
        got = [value, *torch.autograd.grad(value, params)]
        yield max(abs(mp.mpf(a.item()) - b) / (1 + abs(b)) for a, b in zip(got, expected, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_normal(scale):
    for loc in LOCS:
        double, single = errors(expected_softplus_normal, normal, loc, scale)
        assert double < 1e-12 * (1 + scale)
        assert single < 1e-7


@pytest.mark.slow
@pytest.mark.parametrize("scale", [-100.0, -1.0, -0.01, 0.001, 0.5, 10.0])
def test_exponential(scale):
    for loc in (-6.0 if scale <= 1 else 0.0, 0.0, 4.0 if scale >= -1 else 0.0):
        double, single = errors(expected_softplus_exponential, exponential, loc, scale)
        assert double < 1e-9
        assert single < 1e-6


@pytest.mark.parametrize("function", [expected_softplus_exponential, expected_softplus_normal])
def test_functional_transforms(function):
    loc, scale = torch.randn(3, 2), torch.rand(3, 2) * 2 + 0.1
    params = [loc.clone().requires_grad_(), scale.clone().requires_grad_()]
    expected = torch.autograd.grad(function(*params).sum(), params)
    torch.testing.assert_close(
        torch.func.vmap(torch.func.grad(lambda a, b: function(a, b).sum(), (0, 1)))(loc, scale), expected
    )
    first = torch.autograd.grad(function(*params).sum(), params, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        torch.autograd.grad(first[0].sum(), params[0])
