"""Diagnostics of samplers: they find what is wrong, and nothing where nothing is."""

import pytest
import torch
from boltzmann_machines import ferromagnet, random_graph_machine

from pyrodgm import plots
from pyrodgm.boltzmann import (
    BipartiteMachine,
    Gibbs,
    Graph,
    GraphMachine,
    ParallelTempering,
    PopulationAnnealing,
    check_sampler,
    two_sample_test,
)
from pyrodgm.boltzmann.diagnostics import samples_apart, tempered_samples

RING = Graph(12, [(i, (i + 1) % 12) for i in range(12)])


def test_two_samples():
    machine = random_graph_machine(RING, 1.0)
    p_values = [two_sample_test(machine.exact_samples(40), machine.exact_samples(50), 49).p_value for _ in range(40)]
    p = torch.tensor(p_values).sort().values
    # uniform under the null: Kolmogorov's distance of 40 draws
    assert (p - (torch.arange(40) + 0.5) / 40).abs().max() < 0.26
    other = random_graph_machine(RING, 1.0, seed=1)
    assert two_sample_test(machine.exact_samples(300), other.exact_samples(300)).p_value < 0.01
    # the same means, another dependence
    bits = torch.randint(2, (300, 1)).double()
    apart = two_sample_test(bits.expand(-1, 4), torch.randint(2, (300, 4)).double())
    assert apart.p_value < 0.01
    x, y = torch.rand(5, 3), torch.rand(4, 3)
    by_hand = 2 * torch.cdist(x, y).mean() - torch.cdist(x, x).mean() - torch.cdist(y, y).mean()
    assert two_sample_test(x, y).statistic == pytest.approx(by_hand.item())
    with pytest.raises(ValueError, match=r"first and second must have columns alike, got \[5, 3\] and \[5, 4\]"):
        two_sample_test(x, torch.rand(5, 4))


def far_from_uniform(p_values):
    """Kolmogorov's distance from the uniform distribution in units of its 1 % point."""
    p = torch.tensor(p_values).sort().values
    return float((p - (torch.arange(len(p)) + 0.5) / len(p)).abs().max() * len(p) ** 0.5 / 1.63)


@pytest.mark.slow
def test_p_values_are_uniform_where_samples_are_tempered_or_come_in_families():
    torch.manual_seed(0)
    machine = random_graph_machine(RING, 1.0)
    tempered = tempered_samples(machine, 600).split(40)
    assert far_from_uniform([two_sample_test(machine.exact_samples(50), t, 49).p_value for t in tempered]) < 1.0
    spread, last = [], []
    for _ in range(20):
        calls = [machine.exact_samples(12).repeat_interleave(6, 0) for _ in range(6)]
        assert samples_apart(calls).shape == (72, 12)
        for kept, sample in ((spread, samples_apart(calls)), (last, calls[-1])):
            kept.append(two_sample_test(sample, machine.exact_samples(50), 49).p_value)
    assert far_from_uniform(spread) < 1.0
    assert far_from_uniform(last) > 2.0  # families taken for independent
    assert len(samples_apart([torch.zeros(400, 3)] * 7)) == 400
    assert len(samples_apart([torch.zeros(3000, 3)] * 7)) == 500


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler", [Gibbs(5), PopulationAnnealing(), ParallelTempering(5, 6)], ids=lambda s: type(s).__name__
)
def test_nothing_is_found_where_nothing_is_wrong(sampler):
    torch.manual_seed(1)
    machine = random_graph_machine(RING, 0.5)
    state = sampler.sample(machine, sampler.start(machine, 200)).state
    check = check_sampler(machine, sampler, state, num_calls=8)
    assert check.doubts == []
    assert check.negative_energy.shape == (8, 200)
    assert 1.0 <= check.autocorrelation_time < 3.0
    assert str(check).startswith(("R-hat 0.99", "R-hat 1.0"))
    free = GraphMachine(RING, torch.zeros(12), torch.zeros(12))
    assert check_sampler(free, sampler, num_calls=4).r_hat < 1.05
    figure = plots.sampler_chains(check.negative_energy, check.diagnostics.get("exchange_rates"), title=str(check))
    assert len(figure.axes) == (2 if isinstance(sampler, ParallelTempering) else 1)


@pytest.mark.slow
def test_what_is_wrong_is_found():
    """Chains that keep their mode; chains that never reached the machine; temperatures too few; families too few."""
    two_modes = BipartiteMachine(*ferromagnet(10, 1.0, 0.3))
    assert "chains stay apart" in check_sampler(two_modes, Gibbs(1), num_calls=6).doubts[0]
    off = {"states": torch.zeros(200, 20)}
    only = check_sampler(two_modes, Gibbs(1), off, num_calls=6).doubts
    assert any("differ from tempered ones" in doubt for doubt in only)
    hard = random_graph_machine(Graph.complete(14), 8.0)
    assert any("use more" in doubt for doubt in check_sampler(hard, ParallelTempering(2, 2), num_calls=4).doubts)
    state = {"states": torch.zeros(40, 14)}
    assert any("fewer than 30 members" in d for d in check_sampler(hard, PopulationAnnealing(), state, 4).doubts)
    with pytest.raises(ValueError, match="num_calls must be at least 4, got 3"):
        check_sampler(hard, Gibbs(1), num_calls=3)
    with pytest.raises(ValueError, match=r"negative_energy must have shape \[num_calls, N\], got \[3\]"):
        plots.sampler_chains(torch.zeros(3))
