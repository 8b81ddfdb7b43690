"""What holds for every distribution: one row in `distribution_cases.py` enrols it in all of this."""

import inspect
import math

import missing
import numpy as np
import pyro
import pytest
import torch
from distribution_cases import CASES, ELSEWHERE
from torch.distributions import Distribution, constraints

from pyrodgm import distributions

FALSE_ALARM = 1e-6
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
each_density = pytest.mark.parametrize("case", [c for c in CASES if not c.proxy], ids=lambda case: case.name)


def kolmogorov_bound(draws: int) -> float:
    return math.sqrt(-math.log(FALSE_ALARM / 2) / (2 * draws))


def expectation(distribution, points, volume, function):
    """E[function] by summing over the grid: `[batch, ...]`."""
    density = distribution.log_prob(points.unsqueeze(1)).exp() * volume.unsqueeze(-1)
    values = function(points)
    return torch.einsum("nb,n...->b...", density, values)


def test_every_distribution_is_enrolled():
    named = {name for name in distributions.__all__ if inspect.isclass(getattr(distributions, name))}
    named = {name for name in named if issubclass(getattr(distributions, name), Distribution)}
    enrolled = {type(case.distribution()).__name__ for case in CASES}
    assert named == enrolled | ELSEWHERE.keys()
    assert not enrolled & ELSEWHERE.keys()


@each_case
def test_expansion_in_plates_and_without_rsample(case):
    d = case.distribution()
    if d.has_rsample:
        assert not case.distribution().has_rsample_(False).expand((3, case.batch)).has_rsample
    with pyro.plate("rows", 3, dim=-2), pyro.plate("columns", case.batch, dim=-1):
        assert pyro.sample("x", d).shape == (3, case.batch, *d.event_shape)


@each_case
def test_log_prob_matches_oracle(case):
    d = case.distribution()
    got = d.log_prob(case.points.unsqueeze(1)).numpy()
    for i in range(case.batch):
        expected = np.array(case.log_density(case.points.numpy(), **case.element(i)), dtype=float)
        np.testing.assert_allclose(got[:, i], expected, rtol=1e-10, atol=1e-10)


@each_density
def test_density_integrates_to_one(case):
    points, volume = case.grid()
    total = expectation(case.distribution(), points, volume, lambda x: torch.ones(len(x)))
    torch.testing.assert_close(total, torch.ones(case.batch), rtol=0, atol=1e-6)


@each_density
def test_samples_follow_density(case):
    """Kolmogorov-Smirnov on each coordinate and on the log-density, against the distribution functions of the grid."""
    d = case.distribution()
    points, volume = case.grid()
    n = 20_000
    draws = d.sample((n,))
    mass = d.log_prob(points.unsqueeze(1)).exp() * volume.unsqueeze(-1)
    for i in range(case.batch):
        statistics = [
            (points.reshape(len(points), -1)[:, j], draws[:, i].reshape(n, -1)[:, j])
            for j in range(d.event_shape.numel())
        ]
        statistics.append((d.log_prob(points.unsqueeze(1))[:, i], d.log_prob(draws)[:, i]))
        for at, drawn in statistics:
            at, cell = at.unique(return_inverse=True)
            weight = torch.zeros(len(at)).index_add_(0, cell, mass[:, i])
            # A grid point of a continuous case is the middle of its cell.
            cdf = weight.cumsum(0) - (0.0 if case.discrete else 0.5) * weight
            empirical = torch.searchsorted(drawn.sort().values, at, right=True) / n
            distance = (empirical - cdf).abs().max()
            assert distance < kolmogorov_bound(n)


@each_density
def test_moments(case):
    if not case.moments:
        return
    d = case.distribution()
    points, volume = case.grid()
    mean = expectation(d, points, volume, lambda x: x)
    square = expectation(d, points, volume, lambda x: x.square())
    torch.testing.assert_close(d.mean, mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(d.variance, square - mean.square(), rtol=1e-6, atol=1e-6)


@each_density
def test_reparameterised_gradient(case):
    """The mean gradient over draws against the gradient of the integral, within five standard errors."""
    d = case.distribution()
    if not d.has_rsample:
        with pytest.raises(NotImplementedError):
            d.rsample()
        return
    n, groups = 40_000, 20
    points, volume = case.grid()
    params = {name: value.clone().requires_grad_() for name, value in case.params.items()}
    d = case.build(**params)

    def function(x):
        flat = x.reshape(*x.shape[: x.dim() - case.event_dim], -1)
        return flat.prod(-1) + flat.square().sum(-1)

    exact = torch.autograd.grad(expectation(d, points, volume, function).sum(), list(params.values()))
    by_group = [
        torch.autograd.grad(function(d.rsample((n // groups,))).mean(0).sum(), list(params.values()))
        for _ in range(groups)
    ]
    for expected, *got in zip(exact, *by_group, strict=True):
        got = torch.stack(got)
        error = (got.mean(0) - expected) / (got.std(0) / math.sqrt(groups) + 1e-9)
        assert error.abs().max() < 6


@each_case
def test_bad_arguments_name_the_argument(case):
    for name, constraint in case.distribution().arg_constraints.items():
        if name not in case.params:
            continue
        bad = [math.nan]
        inner = getattr(constraint, "base_constraint", constraint)
        if inner is constraints.positive:
            bad += [0.0, -1.0]
        for wrong in bad:
            value = case.params[name].clone()
            value.view(-1)[0] = wrong
            with pytest.raises(ValueError, match=name):
                case.build(**{**case.params, name: value}, validate_args=True)


@each_case
def test_values_outside_support(case):
    d = case.distribution(validate_args=True)
    for outside in case.outside:
        with pytest.raises(ValueError, match="support"):
            d.log_prob(torch.as_tensor(outside))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason=missing.DEVICE)
@each_case
def test_cuda(case):
    cpu, d = case.distribution(), case.distribution(device="cuda")
    x = d((10,))
    assert x.device.type == "cuda"
    torch.testing.assert_close(d.log_prob(x).cpu(), cpu.log_prob(x.cpu()))
    if case.moments:
        torch.testing.assert_close(d.mean.cpu(), cpu.mean)
