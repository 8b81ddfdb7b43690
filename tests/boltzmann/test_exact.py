"""Sums over the smaller side against sums over all joint states."""

import pytest
import torch
from boltzmann_machines import brute_force, random_machine

from pyrodgm.boltzmann import (
    attach_moments,
    bernoulli_entropy,
    exact_log_partition,
    exact_moments,
    exact_samples,
    log_marginal,
    mean_field_log_partition,
    negative_energy,
)

SHAPES = [(3, 5), (5, 3), (1, 6)]


@pytest.mark.parametrize("coupling", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_log_partition_moments_and_gradient(shape, coupling):
    machine = random_machine(*shape, coupling)
    left, right, p, log_z = brute_force(*machine)
    leaves = [t.clone().requires_grad_() for t in machine]
    value = exact_log_partition(*leaves, max_bytes=500)  # several chunks
    assert value.item() == pytest.approx(log_z.item(), rel=1e-13)
    moments = exact_moments(*machine, max_bytes=500)
    expected = (torch.einsum("n,ni,nj->ij", p, left, right), p @ left, p @ right)
    attached = attach_moments(log_z, *leaves, moments)
    assert attached.item() == log_z.item()
    for gradients in (torch.autograd.grad(value, leaves), torch.autograd.grad(attached, leaves), moments):
        for got, want in zip(gradients, expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_marginal_is_the_sum_over_the_right_units():
    machine = random_machine(2, 4, 2.0)
    left, right, _, _ = brute_force(*machine)
    for state in left.unique(dim=0):
        here = (left == state).all(1)
        expected = negative_energy(*machine, left[here], right[here]).logsumexp(0)
        assert log_marginal(*machine, state).item() == pytest.approx(expected.item(), rel=1e-13)


def test_batches_of_machines_are_those_one_by_one():
    machines = [random_machine(4, 3, c, seed=i) for i, c in enumerate((0.5, 1.0, 2.0))]
    batch = [torch.stack(parts) for parts in zip(*machines, strict=True)]
    together, moments = exact_log_partition(*batch), exact_moments(*batch)
    bounds = mean_field_log_partition(*batch)
    draws = exact_samples(*batch, 20_000)
    assert draws[0].shape == (20_000, 3, 4)
    assert draws[1].shape == (20_000, 3, 3)
    for i, machine in enumerate(machines):
        torch.testing.assert_close(together[i], exact_log_partition(*machine))
        torch.testing.assert_close(bounds[i], mean_field_log_partition(*machine))
        for got, want in zip(moments, exact_moments(*machine), strict=True):
            torch.testing.assert_close(got[i], want)
        torch.testing.assert_close(draws[0][:, i].mean(0), moments.left[i], rtol=0, atol=0.02)
    # one matrix of weights, biases of each
    shared = exact_log_partition(machines[0][0], batch[1], batch[2])
    torch.testing.assert_close(shared[2], exact_log_partition(machines[0][0], *machines[2][1:]))
    assert not torch.isclose(shared[2], together[2])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_samples_follow_the_probabilities(shape):
    machine = random_machine(*shape, 1.5)
    left, right, p, _ = brute_force(*machine)
    n = 100_000
    draws = torch.cat(exact_samples(*machine, n), 1)
    power = 2.0 ** torch.arange(sum(shape))
    index = torch.searchsorted((torch.cat([left, right], 1) @ power).sort().values, draws @ power)
    order = (torch.cat([left, right], 1) @ power).argsort()
    counts = torch.bincount(index, minlength=len(p))
    expected = n * p[order]
    likely = expected > 10
    z = (counts - expected)[likely] / expected[likely].sqrt()
    # the sum of squares is chi-squared; five of its standard deviations
    assert z.square().sum() < likely.sum() + 5 * (2 * likely.sum()) ** 0.5


@pytest.mark.slow
def test_four_million_states_fit_a_small_memory():
    """22 units without couplings have a closed form; the chunks must add up to it."""
    bias = torch.linspace(-2, 2, 22)
    value = exact_log_partition(torch.zeros(22, 25), bias, torch.ones(25), max_bytes=2**24)
    expected = torch.log1p(bias.exp()).sum() + 25 * torch.log1p(torch.ones(()).exp())
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("coupling", [0.0, 0.3, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("iterations", [1, 2, 5, 50])
def test_mean_field_never_exceeds_the_exact_value(coupling, iterations):
    for seed in range(20):
        machine = random_machine(6, 8, coupling, seed)
        exact, bound = exact_log_partition(*machine), mean_field_log_partition(*machine, iterations)
        assert bound <= exact + 1e-12
        if coupling == 0.0:
            torch.testing.assert_close(bound, exact)
        if coupling == 0.3:
            assert exact - bound < 0.6  # and it is near it where the units hardly depend on each other


def test_mean_field_iterations_raise_the_bound_to_a_stationary_one():
    machine = [t.clone().requires_grad_() for t in random_machine(6, 8, 0.5)]
    values = [mean_field_log_partition(*machine, k).item() for k in (1, 2, 5, 20)]
    assert values == sorted(values)
    # at a fixed point the gradient with the means fixed is that of the bound: by finite differences of the value
    gradient = torch.autograd.grad(mean_field_log_partition(*machine, 500), machine)
    for parameter, slope in zip(machine, gradient, strict=True):
        with torch.no_grad():
            flat, step = parameter.view(-1), 1e-6
            flat[0] += step
            above = mean_field_log_partition(*machine, 500)
            flat[0] -= 2 * step
            below = mean_field_log_partition(*machine, 500)
            flat[0] += step
        assert slope.flatten()[0].item() == pytest.approx((above - below).item() / (2 * step), rel=1e-6)


def test_entropy():
    q = torch.tensor([1e-9, 0.1, 0.5, 0.99])
    expected = -q * q.log() - (1 - q) * torch.log1p(-q)
    torch.testing.assert_close(bernoulli_entropy(q.logit()), expected)
    assert torch.equal(bernoulli_entropy(torch.tensor([-800.0, 800.0])), torch.zeros(2))


def test_bad_machines_are_refused():
    with pytest.raises(ValueError, match=r"smaller side of weights must have at most 22 units .* got \[23, 24\]"):
        exact_log_partition(torch.zeros(23, 24), torch.zeros(23), torch.zeros(24))
    with pytest.raises(ValueError, match=r"weights must have shape \[\*batch, L, R\], got \[3\]"):
        exact_log_partition(torch.zeros(3), torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"left_bias must have .* 3 units .* got shape \[4\]"):
        exact_moments(torch.zeros(3, 4), torch.zeros(4), torch.zeros(4))
    with pytest.raises(ValueError, match=r"right_bias must have .* 4 units .* got shape \[3\]"):
        exact_samples(torch.zeros(3, 4), torch.zeros(3), torch.zeros(3), 2)
    with pytest.raises(ValueError, match="num_iterations must be at least 1, got 0"):
        mean_field_log_partition(torch.zeros(3, 4), torch.zeros(3), torch.zeros(4), 0)
