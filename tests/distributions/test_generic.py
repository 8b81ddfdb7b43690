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
from torch.fx.experimental.proxy_tensor import make_fx

from pyrodgm import distributions
from pyrodgm.testing import check_distribution

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
def test_checks_that_others_may_import(case):
    check_distribution(case.distribution(), case.moments)


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


@each_case
def test_float32(case):
    d, d32 = case.distribution(), case.distribution(torch.float32)
    x = d32.sample((100,))
    assert x.dtype == d32.log_prob(x).dtype == torch.float32
    assert not case.moments or d32.mean.dtype == torch.float32
    expected = d.log_prob(x.double())
    error = (d32.log_prob(x).double() - expected).abs() / expected.abs().clamp(min=1)
    assert error.max() < case.float32_error


@pytest.mark.slow
@each_case
def test_make_fx(case):
    """A traced step equals the eager one, also at parameters other than those it was traced at."""

    def step(*values):
        d = case.build(**dict(zip(case.params, values, strict=True)), validate_args=False)
        x = d((5,))
        # a density with points of mass has no gradient with respect to its draws
        loss = d.log_prob(x.detach() if case.discrete else x).mean() + x.mean()
        return (x, loss, *torch.autograd.grad(loss, values))

    def inputs(scale):
        return [(v * scale).requires_grad_() for v in case.params.values()]

    traced = make_fx(step)(*inputs(1.0))
    torch.manual_seed(3)
    got = traced(*inputs(1.1))
    torch.manual_seed(3)
    torch.testing.assert_close(got, step(*inputs(1.1)))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's gamma sampler under vmap
@each_case
def test_functional_transforms(case):
    """torch.func.grad of a draw's density equals backward, and works under vmap."""
    if not case.distribution().has_rsample:
        return

    def loss(*values):
        d = case.build(**dict(zip(case.params, values, strict=True)), validate_args=False)
        x = d.rsample()
        return d.log_prob(x.detach() if case.discrete else x).sum() + x.sum()

    values = [v.clone().requires_grad_() for v in case.params.values()]
    gradient = torch.func.grad(loss, tuple(range(len(values))))
    torch.manual_seed(0)
    expected = torch.autograd.grad(loss(*values), values)
    torch.manual_seed(0)
    torch.testing.assert_close(gradient(*case.params.values()), expected)
    batched = torch.func.vmap(gradient, randomness="different")(*case.params.values())
    assert all(b.shape == e.shape and b.isfinite().all() for b, e in zip(batched, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's gamma sampler under vmap
@each_case
def test_forward_mode(case, dtype):
    """Derivatives of density and draws along a direction: forward mode equals reverse mode, also under vmap."""
    values = tuple(v.to(dtype) for v in case.params.values())
    directions = tuple(torch.full_like(v, 0.3) for v in values)
    point = case.distribution(dtype).sample()
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-8, "atol": 1e-8}

    def build(*values):
        return case.build(**dict(zip(case.params, values, strict=True)), validate_args=False)

    def density(*values):
        return build(*values).log_prob(point).sum()

    def draw(*values):
        torch.manual_seed(0)
        return build(*values).rsample().sum()

    for function in (density, draw) if build(*values).has_rsample else (density,):
        primal, tangent = torch.func.jvp(function, values, directions)
        slopes = torch.func.grad(function, tuple(range(len(values))))(*values)
        expected = sum((slope * direction).sum() for slope, direction in zip(slopes, directions, strict=True))
        assert primal.dtype == dtype
        torch.testing.assert_close(tangent, expected, **tolerance)
    many = torch.func.vmap(lambda *shifts: torch.func.jvp(density, values, shifts)[1])
    batched = many(*(torch.stack([d, 2 * d]) for d in directions))
    torch.testing.assert_close(batched[1], 2 * batched[0], **tolerance)


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
