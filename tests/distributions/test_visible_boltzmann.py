"""Visible units against sums over all states, on two layers and on graphs with and without coupled hidden units."""

import pytest
import torch
from boltzmann_machines import all_states, random_graph_machine, random_machine

from pyrodgm import boltzmann
from pyrodgm.boltzmann import BipartiteMachine, Graph
from pyrodgm.distributions import (
    BoltzmannMachine,
    GaussianIntegralBoltzmann,
    GaussianSmoothing,
    RelaxedBoltzmann,
    SpikeBoltzmann,
    VisibleBoltzmann,
)

MACHINES = {
    "layers": lambda: BipartiteMachine(*random_machine(3, 4, 1.5)),
    "hidden apart": lambda: random_graph_machine(Graph(7, [(0, 1), (1, 2), (0, 4), (3, 1), (5, 2), (0, 5)]), 1.5),
    "hidden coupled": lambda: random_graph_machine(Graph(7, [(0, 1), (3, 4), (4, 5), (3, 5), (2, 3), (0, 6)]), 1.5),
}


@pytest.fixture(params=MACHINES.values(), ids=MACHINES.keys())
def energy(request):
    machine = request.param()
    for t in machine.parameters:
        t.requires_grad_()
    return machine


def by_hand(energy):
    """log p(v) of all states of the three visible units."""
    return energy.negative_energy(all_states(7)).log_softmax(0).reshape(8, 16).logsumexp(1)


def test_density_gradient_and_draws(energy):
    visible = VisibleBoltzmann(BoltzmannMachine(energy), 3)
    expected = by_hand(energy)
    got = visible.log_prob(all_states(3))
    torch.testing.assert_close(got, expected)
    weight = torch.linspace(-1.0, 2.0, 8)
    for a, b in zip(*(torch.autograd.grad(weight @ v, energy.parameters) for v in (got, expected)), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(visible.mean, expected.exp() @ all_states(3))
    draws = visible.sample((20_000,))
    assert (draws.mean(0) - visible.mean).abs().max() < 0.02
    assert visible.expand([2]).sample((5,)).shape == (5, 2, 3)
    assert visible.expand([2]).log_prob(all_states(3)[0]).shape == (2,)


def test_smoothed_visible_units(energy):
    visible = VisibleBoltzmann(BoltzmannMachine(energy), 3)
    smoothing = GaussianSmoothing(10.0)
    relaxed = RelaxedBoltzmann(visible, smoothing)
    zeta = relaxed.sample((5,))
    states = all_states(3)
    each = torch.where(states == 1, smoothing.log_prob(zeta, 1)[:, None], smoothing.log_prob(zeta, 0)[:, None])
    torch.testing.assert_close(relaxed.log_prob(zeta), (by_hand(energy) + each.sum(-1)).logsumexp(-1))
    assert (RelaxedBoltzmann(visible, smoothing, 30).log_prob(zeta) <= relaxed.log_prob(zeta) + 1e-9).all()
    spikes = SpikeBoltzmann(visible, 4.0)
    value = spikes.sample((6,))
    on = (value > 0).double()
    expected = (on * spikes.smoothing.log_prob(value, 1)).sum(-1) + visible.log_prob(on)
    torch.testing.assert_close(spikes.log_prob(value), expected)
    with pytest.raises(ValueError, match="without hidden units, got VisibleBoltzmann"):
        GaussianIntegralBoltzmann(visible, 4.0)


def test_bad_numbers_are_refused(energy):
    machine = BoltzmannMachine(energy)
    for number in (0, 8):
        with pytest.raises(ValueError, match=f"num_visible must .*, got {number}"):
            VisibleBoltzmann(machine, number)
    if isinstance(energy, BipartiteMachine):
        with pytest.raises(ValueError, match="num_visible must be that of the left units of two layers, 3, got 4"):
            VisibleBoltzmann(machine, 4)
    else:
        all_of_them = VisibleBoltzmann(machine, 6).log_prob(all_states(6))
        torch.testing.assert_close(all_of_them.logsumexp(0), torch.zeros(()))
    wide = random_graph_machine(Graph.complete(30))
    with pytest.raises(ValueError, match="width at most 20 for exact sums, got at least 2"):
        VisibleBoltzmann(BoltzmannMachine(wide, log_partition=torch.zeros(())), 3).log_prob(torch.zeros(3))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["weights", "left_bias", "right_bias"])
def test_values_that_are_not_finite_are_refused_by_every_function(name, bad):
    parts = dict(zip(("weights", "left_bias", "right_bias"), random_machine(3, 2), strict=True))
    good = tuple(t.clone() for t in parts.values())
    parts[name].view(-1)[0] = bad
    machine = tuple(parts.values())
    left, right = torch.ones(4, 3), torch.ones(4, 2)
    moments = boltzmann.exact_moments(*good)
    calls = {
        "negative_energy": lambda: boltzmann.negative_energy(*machine, left, right),
        "log_marginal": lambda: boltzmann.log_marginal(*machine, left),
        "sample_moments": lambda: boltzmann.sample_moments(*machine, left, right),
        "attach_moments": lambda: boltzmann.attach_moments(torch.zeros(()), *machine, moments),
        "log_partition_change": lambda: boltzmann.log_partition_change(good, machine, left, right),
        "gibbs_sweeps": lambda: boltzmann.gibbs_sweeps(*machine, left),
        "advance_chains": lambda: boltzmann.advance_chains(*machine, left, right),
        "exact_log_partition": lambda: boltzmann.exact_log_partition(*machine),
        "exact_moments": lambda: boltzmann.exact_moments(*machine),
        "exact_samples": lambda: boltzmann.exact_samples(*machine, 3),
        "mean_field_log_partition": lambda: boltzmann.mean_field_log_partition(*machine),
        "population_annealing": lambda: boltzmann.population_annealing(*machine, 10),
        "annealed_importance_sampling": lambda: boltzmann.annealed_importance_sampling(*machine, 10, 10),
        "BipartiteMachine": lambda: BipartiteMachine(*machine),
        "BoltzmannMachine": lambda: BoltzmannMachine(*machine),
    }
    if name != "left_bias":
        calls["right_field"] = lambda: boltzmann.right_field(machine[0], machine[2], left)
    if name != "right_bias":
        calls["left_field"] = lambda: boltzmann.left_field(machine[0], machine[1], right)
    for call in calls.values():
        with pytest.raises(ValueError, match=f"{name} must be finite"):
            call()
