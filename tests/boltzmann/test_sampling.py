"""Chains, populations and annealed importance sampling against exact sums, and where chains fail."""

import math

import pytest
import torch
from boltzmann_machines import brute_force, ferromagnet, random_machine
from torch.fx.experimental.proxy_tensor import make_fx

from pyrodgm.boltzmann import (
    advance_chains,
    annealed_importance_sampling,
    exact_log_partition,
    exact_moments,
    exact_samples,
    gibbs_sweeps,
    log_partition_change,
    population_annealing,
    random_states,
    sample_moments,
    systematic_resample,
)
from pyrodgm.boltzmann.annealed_importance import joined_estimate, summarised

COUPLINGS = [0.1, 0.5, 1.0, 2.0]


def test_gibbs_transition_is_that_of_the_conditionals():
    """From one left state: frequencies of the joint states after a sweep against p(r | l) p(l' | r)."""
    w, b, c = random_machine(2, 2, 1.5)
    start, n = torch.tensor([1.0, 0.0]), 200_000
    left, right = gibbs_sweeps(w, b, c, start.expand(n, 2))
    counts = torch.bincount((torch.cat([left, right], 1) @ torch.tensor([8.0, 4.0, 2.0, 1.0])).long(), minlength=16)
    for state in range(16):
        l1, l2, r1, r2 = ((state >> k) & 1 for k in (3, 2, 1, 0))
        p = 1.0
        for j, r in enumerate((r1, r2)):
            on = 1 / (1 + math.exp(-(c[j] + start @ w[:, j]).item()))
            p *= on if r else 1 - on
        for i, bit in enumerate((l1, l2)):
            on = 1 / (1 + math.exp(-(b[i] + w[i, 0] * r1 + w[i, 1] * r2).item()))
            p *= on if bit else 1 - on
        assert counts[state].item() == pytest.approx(n * p, abs=5 * math.sqrt(n * p))


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_gibbs_leaves_exact_samples_exact(coupling):
    machine = random_machine(8, 10, coupling)
    left, right = gibbs_sweeps(*machine, exact_samples(*machine, 40_000)[0], 3)
    exact = exact_moments(*machine)
    for got, want in zip(sample_moments(*machine, left, right), exact, strict=True):
        assert (got - want).abs().max() < 5 * 0.5 / 200
    plain = left.mT @ right / len(left)
    assert (plain - exact.weights).abs().max() < 5 * 0.5 / 200


def test_chains_move_in_place_and_batches_of_machines_are_swept_together():
    machine = random_machine(4, 3)
    left, right = random_states(machine[0], 5000)
    before = left.clone()
    moments = advance_chains(*machine, left, right, 50)
    assert not torch.equal(left, before)
    for got, want in zip(moments, exact_moments(*machine), strict=True):
        assert (got - want).abs().max() < 0.04
    batch = [torch.stack([t, -t]) for t in machine]
    lefts, rights = gibbs_sweeps(*batch, torch.zeros(5000, 2, 4), 50)
    assert rights.shape == (5000, 2, 3)
    torch.testing.assert_close(lefts.mean(0), exact_moments(*batch).left, rtol=0, atol=0.04)


def test_change_of_log_partition_is_tracked():
    before, after = random_machine(8, 9, 0.5), random_machine(8, 9, 0.5)
    after[0].add_(0.02)
    change = log_partition_change(before, after, *exact_samples(*before, 50_000))
    exact = exact_log_partition(*after) - exact_log_partition(*before)
    assert change.item() == pytest.approx(exact.item(), abs=0.02)
    assert abs(exact.item()) > 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "coupling"), [*(((10, 30), coupling) for coupling in COUPLINGS), ((30, 10), 1.0)])
def test_annealed_importance_sampling_covers_the_exact_value(shape, coupling):
    machine = random_machine(*shape, coupling)
    exact = exact_log_partition(*machine)
    runs = [annealed_importance_sampling(*machine, 200, 200) for _ in range(10)]
    z = torch.stack([(r.value - exact) / r.standard_error for r in runs])
    assert z.abs().max() < 4.5
    assert 0.2 < z.std() < 2.5  # the error bar is neither idle nor too small
    assert all(1 <= r.ess <= 200 and r.value.dtype == torch.float64 for r in runs)


def test_estimates_by_some_of_the_chains_make_up_that_by_all():
    logs = torch.randn(20, generator=torch.Generator().manual_seed(1)) * 2 + 700
    whole = summarised(torch.tensor(3.0), logs)
    parts = [summarised(torch.tensor(3.0), part) for part in logs.split([2, 11, 7])]
    joined = joined_estimate(parts, [2, 11, 7])
    for name in ("value", "standard_error", "ess"):
        torch.testing.assert_close(getattr(joined, name), getattr(whole, name), rtol=1e-12, atol=0.0)


def test_annealed_importance_sampling_from_a_base_of_its_own():
    machine = random_machine(10, 12, 1.0)
    base = torch.linspace(-2, 3, 10), torch.linspace(2, -1, 12)
    estimate = annealed_importance_sampling(*machine, 300, 300, base=base)
    exact = exact_log_partition(*machine)
    assert (estimate.value - exact).abs() < 4.5 * estimate.standard_error
    swapped = annealed_importance_sampling(machine[0].mT, machine[2], machine[1], 300, 300, base=base[::-1])
    assert (swapped.value - exact).abs() < 4.5 * swapped.standard_error


def test_one_step_of_importance_sampling_has_the_variance_of_plain_importance_sampling():
    """With one temperature the weights are p*(l) / p0(l) of fair coins l: their mean and variance by enumeration."""
    machine = random_machine(4, 5, 0.3)
    left, _, _, log_z = brute_force(*machine)
    states = left.unique(dim=0)
    w = (states @ machine[1] + torch.log1p((states @ machine[0] + machine[2]).exp()).sum(1)).exp() * 16
    estimate = annealed_importance_sampling(*machine, 1, 100_000)
    assert estimate.value.item() == pytest.approx(log_z.item(), abs=5 * estimate.standard_error.item())
    expected = (w.std(correction=0) / w.mean()).item() / math.sqrt(100_000)
    assert estimate.standard_error.item() == pytest.approx(expected, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("static", [None, 40], ids=["adaptive", "static"])
def test_population_annealing_gives_the_exact_log_partition_and_moments(coupling, static):
    machine = random_machine(10, 20, coupling)
    exact, moments = exact_log_partition(*machine), exact_moments(*machine)
    runs = [population_annealing(*machine, 2000, num_temperatures=static, num_sweeps=2) for _ in range(6)]
    error = torch.stack([r.log_partition for r in runs]) - exact
    assert error.abs().max() < 0.25
    assert error.mean().abs() < 4 * error.std() / math.sqrt(6) + 0.02
    activity = torch.stack([r.left.mean(0) for r in runs]).mean(0)
    assert (activity - moments.left).abs().max() < 0.06
    for r in runs:
        assert r.inverse_temperatures[-1].item() == pytest.approx(1.0, abs=1e-12)
        assert (r.inverse_temperatures.diff() >= 0).all()  # steps left over are sweeps at the machine's own
        assert static is None or len(r.inverse_temperatures) == static
        assert 1 <= r.effective_population <= r.num_families <= 2000


def test_diagnostics_count_families():
    population = population_annealing(*ferromagnet(6, 0.5, 0.0), 500)
    sizes = torch.bincount(population.families, minlength=500)
    assert torch.equal(population.family_sizes, sizes)
    assert population.num_families == (sizes > 0).sum()
    assert population.effective_population.item() == pytest.approx(500**2 / (sizes**2).sum().item())
    free = population_annealing(torch.zeros(4, 4), torch.zeros(4), torch.zeros(4), 500)
    assert free.num_families == 500
    assert free.effective_population == 500
    hard = population_annealing(*random_machine(10, 10, 6.0), 500)
    assert hard.num_families < population.num_families
    assert len(hard.inverse_temperatures) > len(population.inverse_temperatures)


def test_adaptive_steps_keep_the_share_that_is_asked_for():
    few = population_annealing(*random_machine(10, 10, 2.0), 1000, target_ess=0.5)
    many = population_annealing(*random_machine(10, 10, 2.0), 1000, target_ess=0.95)
    assert len(few.inverse_temperatures) < 0.5 * len(many.inverse_temperatures)


@pytest.mark.slow
def test_population_annealing_finds_both_modes_where_persistent_chains_do_not():
    """Two modes of 30 + 30 units with odds e^1.8: chains stay where they started, the population shares out."""
    units, field = 15, 0.06
    machine = ferromagnet(units, 1.0, field)
    exact = exact_moments(*machine).left.mean().item()
    assert 0.84 < exact < 0.87
    up = population_annealing(*machine, 4000).left.mean().item()
    left, right = random_states(machine[0], 4000)
    persistent = advance_chains(*machine, left, right, 300).left.mean().item()
    assert up == pytest.approx(exact, abs=0.03)
    assert exact - persistent > 0.25  # chains are shared out by where fair coins fall, about half to each
    on, off = torch.ones(4000, units), torch.zeros(4000, units)
    stuck = [gibbs_sweeps(*machine, start, 200)[0].mean().item() for start in (on, off)]
    assert stuck[0] > 0.97
    assert stuck[1] < 0.03


def test_systematic_resampling_gives_each_its_share_give_or_take_one():
    weights = torch.rand(50).square()
    expected = 50 * weights / weights.sum()
    total = torch.zeros(50)
    for _ in range(4000):
        counts = torch.bincount(systematic_resample(weights.log() + 700.0), minlength=50)
        assert ((counts - expected).abs() < 1.0 + 1e-9).all()
        total += counts
    assert (total / 4000 - expected).abs().max() < 0.05


@pytest.mark.slow
def test_static_annealing_traces_and_follows_other_parameters():
    def run(w, b, c):
        population = population_annealing(w, b, c, 50, num_temperatures=7)
        return population.left, population.right, population.log_partition, population.families

    first, second = random_machine(4, 5, 0.2), random_machine(4, 5, 2.0, seed=1)
    graph = make_fx(run)(*first)
    torch.manual_seed(5)
    traced = graph(*second)
    torch.manual_seed(5)
    assert all(torch.equal(a, b) for a, b in zip(traced, run(*second), strict=True))


def test_float32_machines_stay_float32():
    machine = random_machine(6, 7, dtype=torch.float32)
    population = population_annealing(*machine, 100)
    assert population.left.dtype == population.right.dtype == torch.float32
    assert gibbs_sweeps(*machine, population.left)[1].dtype == torch.float32
    estimate = annealed_importance_sampling(*machine, 100, 100)
    assert (estimate.value - exact_log_partition(*machine)).abs() < 5 * estimate.standard_error


def test_bad_arguments_are_named():
    machine = random_machine(3, 2)
    with pytest.raises(ValueError, match="num_sweeps must be at least 1, got 0"):
        gibbs_sweeps(*machine, torch.zeros(5, 3), 0)
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        random_states(machine[0], 0)
    with pytest.raises(ValueError, match="num_temperatures must be at least 1, got 0"):
        annealed_importance_sampling(*machine, 0)
    with pytest.raises(ValueError, match="num_chains must be at least 2, got 1"):
        annealed_importance_sampling(*machine, num_chains=1)
    with pytest.raises(ValueError, match="left_bias"):
        annealed_importance_sampling(*machine, base=(torch.zeros(2), torch.zeros(2)))
    with pytest.raises(ValueError, match="population_size must be at least 2, got 1"):
        population_annealing(*machine, 1)
    with pytest.raises(ValueError, match=r"target_ess must be finite and greater than 0 and less than 1, got 1"):
        population_annealing(*machine, target_ess=1.0)
    with pytest.raises(ValueError, match="num_temperatures must be at least 1, got 0"):
        population_annealing(*machine, num_temperatures=0)
    with pytest.raises(ValueError, match="weights must be finite"):
        population_annealing(torch.full((3, 2), torch.nan), *machine[1:])
    weights, left, right = torch.zeros(3, 2), torch.zeros(3), torch.zeros(2)
    for estimate in (population_annealing, annealed_importance_sampling):
        with pytest.raises(ValueError, match=r"weights must have shape \[L, R\], those .* got \[1, 3, 2\]"):
            estimate(weights.unsqueeze(0), left, right)
        with pytest.raises(ValueError, match=r"left_bias must have shape \[L\], .* got \[16, 3\]"):
            estimate(weights, left.expand(16, 3), right, 16)
    with pytest.raises(ValueError, match="weights must be finite"):
        annealed_importance_sampling(weights.fill_(math.nan), left, right, 10, 16)
    weights.zero_()
    with pytest.raises(ValueError, match=r"left must have shape \[\*, 3\], got \[5, 2\]"):
        gibbs_sweeps(weights, left, right, torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"right must have shape \[\*, 2\], got \[5, 3\]"):
        advance_chains(weights, left, right, torch.zeros(5, 3), torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"right must have as many states as left, \[1, 3\]; got \[5, 2\]"):
        advance_chains(weights, left, right, torch.zeros(1, 3), torch.zeros(5, 2))


@pytest.mark.slow
def test_bits_that_are_never_on_are_never_on():
    """One uniform float32 in 2^24 is 0."""
    machine = [t.float() for t in (torch.zeros(1, 100), torch.zeros(1), torch.full((100,), -40.0))]
    left = torch.zeros(300_000, 1, dtype=torch.float32)
    on = sum(gibbs_sweeps(*machine, left)[1].sum().item() for _ in range(2))
    assert on == 0
