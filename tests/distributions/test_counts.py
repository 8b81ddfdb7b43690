"""Counts at means, dispersions and sizes far out, against oracles of higher precision."""

import itertools
from functools import partial

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy import stats

from pyrodgm.distributions import NegativeBinomialCounts, PoissonCounts, ZeroInflatedNegativeBinomialCounts

MEANS = [-200.0, -30.0, -3.0, 0.0, 2.302585092994046, 2.31, 9.0, 13.815510557964274, 13.82, 30.0]
DISPERSIONS = [-25.0, -5.0, 0.0, 4.0, 14.0, 30.0]
COUNTS = [0.0, 1.0, 2.0, 10.0, 1000.0, 1e6, 1e7]
GATES = [-700.0, -4.0, 0.0, 40.0]


def poisson(x, m):
    return x * m - mp.exp(m) - mp.loggamma(x + 1)


def negative_binomial(x, m, t):
    theta, mean = mp.exp(t), mp.exp(m)
    sizes = mp.loggamma(x + theta) - mp.loggamma(theta) - mp.loggamma(x + 1)
    return sizes + theta * mp.log(theta / (theta + mean)) + x * (m - mp.log(theta + mean))


def zero_inflated(x, m, t, g):
    gate = 1 / (1 + mp.exp(-g))
    kept = (1 - gate) * mp.exp(negative_binomial(x, m, t))
    return mp.log(kept + gate if x == 0 else kept)


def in_place(oracle, row, place, value):
    return oracle(*row[:place], value, *row[place + 1 :])


FAMILIES = {
    "poisson": (PoissonCounts, poisson, list(itertools.product(COUNTS, MEANS))),
    "negative_binomial": (
        NegativeBinomialCounts,
        negative_binomial,
        list(itertools.product(COUNTS, MEANS, DISPERSIONS)),
    ),
    "zero_inflated": (
        ZeroInflatedNegativeBinomialCounts,
        zero_inflated,
        list(itertools.product(COUNTS[:4], MEANS[1::3], DISPERSIONS[1:5], GATES)),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", FAMILIES)
def test_log_probabilities_to_rounding(name, dtype):
    family, oracle, points = FAMILIES[name]
    values, *params = torch.tensor(points, dtype=torch.float64).to(dtype).T
    got = family(*params).log_prob(values).double()
    rows = zip(*(column.double().tolist() for column in (values, *params)), strict=True)
    exact = torch.tensor([float(oracle(*map(mp.mpf, row))) for row in rows])
    # A parameter is a logarithm, whose own rounding moves the mean by its eps: the slope in it times its size counts.
    slope = (values - params[0].exp()).double().abs() * params[0].double().abs()
    error = (got - exact).abs() / (1 + exact.abs() + slope.clamp(max=1e300))
    limit = 4e-14 if dtype == torch.float64 else 2e-6
    finite = exact.abs() < torch.finfo(dtype).max
    assert error[finite].max() < limit
    assert (got[~finite] == -torch.inf).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_slopes(name):
    """Of a parameter each, exact to a relative error of 1e-9, and finite in float32 wherever the value is."""
    family, oracle, points = FAMILIES[name]
    points = [point for point in points if point[1] < 20]
    values, *params = torch.tensor(points, dtype=torch.float64).T
    params = [p.clone().requires_grad_() for p in params]
    slopes = torch.autograd.grad(family(*params).log_prob(values).sum(), params)
    for place, slope in enumerate(slopes):
        for row, got in list(zip(points, slope.tolist(), strict=True))[::7]:
            row = [mp.mpf(v) for v in row]
            of_one = partial(in_place, oracle, row, place + 1)
            exact = float(mp.diff(of_one, row[place + 1]))
            assert abs(got - exact) < 1e-9 * (1 + abs(exact)) * max(1.0, float(row[0]) ** 0.5), (place, row, got)
    singles = [p.detach().float().requires_grad_() for p in params]
    slopes = torch.autograd.grad(family(*singles).log_prob(values.float()).sum(), singles)
    assert all(slope.isfinite().all() for slope in slopes)


def test_agrees_with_scipy():
    rng = np.random.default_rng(0)
    mean, theta = np.exp(rng.normal(1.0, 2.0, 500)), np.exp(rng.normal(0.0, 2.0, 500))
    x = stats.nbinom(theta, theta / (theta + mean)).rvs(random_state=1)
    got = NegativeBinomialCounts(*(torch.from_numpy(np.log(v)) for v in (mean, theta))).log_prob(torch.from_numpy(x))
    np.testing.assert_allclose(got, stats.nbinom(theta, theta / (theta + mean)).logpmf(x), rtol=1e-9, atol=1e-10)


def test_it_becomes_the_poisson_distribution_as_theta_grows():
    x, log_mean = torch.arange(30.0), torch.tensor(2.0)
    limit = NegativeBinomialCounts(log_mean, 34.0).log_prob(x)
    torch.testing.assert_close(limit, PoissonCounts(log_mean).log_prob(x), rtol=1e-12, atol=1e-12)
