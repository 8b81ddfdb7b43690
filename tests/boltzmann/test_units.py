"""Units of several states and real ones, against sums over all states and closed forms."""

import itertools
import math

import networkx
import pytest
import torch
from boltzmann_machines import all_states

from pyrodgm.boltzmann import (
    BipartiteMachine,
    Bits,
    Gaussian,
    Gibbs,
    Graph,
    GraphMachine,
    ParallelTempering,
    Potts,
    anneal_population,
    check_sampler,
    estimate_inverse_temperature,
    spins_from_bits,
)
from pyrodgm.boltzmann.samplers.dimod import quadratic_model

GRAPH = Graph(5, [(0, 1), (2, 1), (3, 2), (0, 3), (0, 2)])  # unit 4 has no neighbour
OTHER = Graph(4, [(3, 0), (1, 2)])


def potts_machine(graph, num_states, coupling=1.0):
    couplings = coupling * torch.randn(len(graph.edges), num_states, num_states)
    return GraphMachine(graph, couplings, 0.5 * torch.randn(graph.num_units * num_states), Potts(num_states))


def states_and_energies(machine):
    """All states as one-hot columns and minus their energies, unit by unit and pair by pair."""
    count, width = machine.graph.num_units, machine.units.width
    numbers = list(itertools.product(range(width), repeat=count))
    columns = torch.zeros(len(numbers), count * width)
    energies = torch.zeros(len(numbers))
    for row, number in enumerate(numbers):
        for unit, state in enumerate(number):
            columns[row, unit * width + state] = 1.0
            energies[row] += machine.biases[unit * width + state].detach()
        for e, (i, j) in enumerate(machine.graph.edges.tolist()):
            energies[row] += machine.couplings[e, number[i], number[j]].detach()
    return columns, energies


def layers(left, right, kinds, coupling=1.0):
    return BipartiteMachine(
        coupling * torch.randn(left, right), 0.5 * torch.randn(left), 0.5 * torch.randn(right), kinds
    )


@pytest.mark.parametrize("num_states", [2, 3, 4])
def test_machines_of_several_states_are_summed_as_over_all_states(num_states):
    torch.manual_seed(num_states)
    machine = potts_machine(GRAPH, num_states)
    states, energies = states_and_energies(machine)
    torch.testing.assert_close(machine.negative_energy(states), energies)
    torch.testing.assert_close(machine.log_partition(), energies.logsumexp(0))
    assert machine.units.support.check(states).all()
    leaves = [t.requires_grad_() for t in machine.parameters]
    slope = torch.autograd.grad(machine.negative_energy(states).logsumexp(0), leaves)
    exact = machine.exact_moments()
    for got, expected in zip(exact, slope, strict=True):
        torch.testing.assert_close(got, expected)
    value = machine.attach_moments(machine.log_partition().detach(), exact)
    for got, expected in zip(torch.autograd.grad(value, leaves), slope, strict=True):
        torch.testing.assert_close(got, expected)
    machine, p = machine.detach(), energies.softmax(0)
    for got, expected in zip(machine.sample_moments(states, p), exact, strict=True):
        torch.testing.assert_close(got, expected)
    torch.testing.assert_close(machine.fields(states), states @ machine.coupling_matrix() + machine.biases)
    assert machine.mean_field(30) < machine.log_partition()
    batch = machine.shifted(torch.randn(3, 5 * num_states))
    for i in range(3):
        one = GraphMachine(GRAPH, machine.couplings, batch.biases[i], machine.units)
        torch.testing.assert_close(batch.log_partition()[i], one.log_partition())
        torch.testing.assert_close(batch.mean_field(3)[i], one.mean_field(3))
    visible = states[: num_states**5 : num_states**2, : 3 * num_states]
    same = (states[:, : 3 * num_states] == visible.unsqueeze(1)).all(-1)
    expected = torch.where(same, energies, torch.tensor(-math.inf)).logsumexp(1)
    torch.testing.assert_close(machine.log_marginal(visible), expected)


def test_sweeps_draws_and_estimates_of_several_states():
    torch.manual_seed(0)
    machine = potts_machine(OTHER, 3, 1.5)
    states, energies = states_and_energies(machine)
    weights = torch.tensor(
        [0.0, 27.0, 54.0, 0.0, 9.0, 18.0, 0.0, 3.0, 6.0, 0.0, 1.0, 2.0]
    )  # number states as they come
    assert (states @ weights == torch.arange(81.0)).all()
    n = 40_000
    for beta in (1.0, 0.4):
        p = (beta * energies).softmax(0)
        draws = torch.multinomial(p, n, replacement=True)
        swept = machine.sweep(states[draws], 2, beta)  # leaves the machine invariant
        torch.testing.assert_close(swept.negative_energy, machine.negative_energy(swept.states))
        counts = torch.bincount((swept.states @ weights).long(), minlength=81)
        assert ((counts - n * p).abs() < 5 * (n * p).sqrt() + 5).all()
    counts = torch.bincount((machine.exact_samples(n) @ weights).long(), minlength=81)
    p = energies.softmax(0)
    assert ((counts - n * p).abs() < 5 * (n * p).sqrt() + 5).all()
    # one unit alone is drawn by its softmax
    field = torch.tensor([0.0, 1.0, -2.0])
    share = Potts(3).draw(field.repeat(n, 1)).mean(0)
    assert (share - field.softmax(0)).abs().max() < 0.015
    for columns in (Potts(3).draw(torch.randn(12, 7), 0), Potts(3).draw(torch.randn(7, 12)).T):
        assert (columns.unflatten(0, (4, 3)).sum(1) == 1.0).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["graph", "states and bits", "real and bits", "bits and real"])
def test_estimates_of_log_partition_cover_the_exact_value(kind):
    torch.manual_seed(1)
    machine = {
        "graph": lambda: potts_machine(Graph.from_networkx(networkx.cycle_graph(6)), 3),
        "states and bits": lambda: layers(9, 4, (Potts(3), Bits())),
        "real and bits": lambda: layers(3, 4, (Gaussian(), Bits()), 0.7),
        "bits and real": lambda: layers(4, 3, (Bits(), Gaussian()), 0.7),
    }[kind]()
    exact = machine.log_partition()
    ladders = ParallelTempering(5, 10)
    state = ladders.start(machine, 60)
    found = [machine.estimate_log_partition(60, 100, base) for base in (None, 0.3 * machine.biases)]
    for _ in range(3):
        samples = ladders.sample(machine, state)
        state = samples.state
        found += [samples.log_partition, anneal_population(machine, 300, num_sweeps=2).estimate]
    z = torch.stack([(f.value - exact) / f.standard_error for f in found])
    assert z.abs().max() < 4.5
    assert z.abs().max() > 0.1
    assert machine.mean_field(20) <= exact
    check = check_sampler(machine, Gibbs(5))
    assert check.doubts == []


def test_two_layers_of_several_states_are_the_graph_of_both():
    torch.manual_seed(2)
    fast = layers(6, 9, Potts(3))
    couplings = fast.weights.unflatten(0, (2, 3)).unflatten(2, (3, 3)).transpose(1, 2).flatten(0, 1)
    slow = GraphMachine(Graph.bipartite(2, 3), couplings, fast.biases, Potts(3))
    states, _ = states_and_energies(slow)
    torch.testing.assert_close(fast.coupling_matrix(), slow.coupling_matrix())
    for of in (
        lambda m: m.negative_energy(states),
        lambda m: m.fields(states),
        lambda m: m.log_partition(),
        lambda m: m.log_marginal(states[:, :6]),
        lambda m: m.sample_moments(states).biases if m is slow else torch.cat(m.sample_moments(states)[1:]),
    ):
        torch.testing.assert_close(of(fast), of(slow))
    draws = fast.exact_samples(20_000)
    assert (draws.mean(0) - slow.exact_moments().biases).abs().max() < 0.02


def test_two_states_are_bits():
    torch.manual_seed(3)
    bits = GraphMachine(GRAPH, torch.randn(5), torch.randn(5))
    couplings = torch.zeros(5, 2, 2)
    couplings[:, 1, 1] = bits.couplings
    states = GraphMachine(GRAPH, couplings, torch.stack([torch.zeros(5), bits.biases], -1).flatten(), Potts(2))
    torch.testing.assert_close(states.log_partition(), bits.log_partition())
    torch.testing.assert_close(states.exact_moments().biases[1::2], bits.exact_moments().biases)
    torch.testing.assert_close(states.mean_field(5), bits.mean_field(5))


def test_real_units_summed_out_couple_the_bits():
    torch.manual_seed(4)
    machine = layers(3, 4, (Gaussian(), Bits()), 0.6)
    weights, left, right = machine.parameters
    # the integral over v of N(v; 0, 1) exp(v' (W h + b)) is exp(|W h + b|^2 / 2)
    states = all_states(4)
    energies = 0.5 * (states @ weights.T + left).square().sum(-1) + states @ right
    torch.testing.assert_close(machine.log_partition(), energies.logsumexp(0))
    coupled = weights.T @ weights
    first, second = Graph.complete(4).edges.unbind(1)
    hidden = GraphMachine(Graph.complete(4), coupled[first, second], right + left @ weights + 0.5 * coupled.diag())
    torch.testing.assert_close(machine.log_partition(), hidden.log_partition() + 0.5 * left.square().sum())
    turned = BipartiteMachine(weights.T, right, left, (Bits(), Gaussian()))
    torch.testing.assert_close(turned.log_partition(), machine.log_partition())
    torch.testing.assert_close(turned.log_marginal(states), energies)
    leaves = [t.requires_grad_() for t in machine.parameters]
    slope = torch.autograd.grad(machine.log_partition(), leaves)
    for got, expected in zip(machine.exact_moments(), slope, strict=True):
        torch.testing.assert_close(got, expected)
    machine = machine.detach()
    draws = machine.gibbs(machine.random_states(20_000), 20)
    for found in (machine.exact_samples(20_000), draws):
        for got, expected in zip(machine.sample_moments(found), slope, strict=True):
            assert (got - expected).abs().max() < 0.06
        v, h = found.split([3, 4], -1)
        rest = v - h @ machine.weights.T - machine.left_bias
        assert (rest.std(0) - 1.0).abs().max() < 0.03
    hot = machine.sweep(machine.random_states(20_000), 5, 0.0).states  # the reference: standard normal and fair coins
    assert (hot[:, :3].std(0) - 1.0).abs().max() < 0.03
    assert (hot[:, 3:].mean(0) - 0.5).abs().max() < 0.02


def test_units_are_refused_by_name():
    weights, left, right = torch.zeros(4, 3), torch.zeros(4), torch.zeros(3)
    machine = potts_machine(GRAPH, 3)
    for make, error, message in [
        (lambda: Potts(1), ValueError, "num_states must be at least 2, got 1"),
        (lambda: BipartiteMachine(weights, left, right, Gaussian()), ValueError, "units must be discrete on one side"),
        (lambda: BipartiteMachine(weights, left, right, (Potts(3), Bits())), ValueError, "multiple of 3 columns .* 4"),
        (lambda: BipartiteMachine(weights, left, right, "bits"), TypeError, r"units\[0\] must be Bits\(\), Potts\(K\)"),
        (lambda: BipartiteMachine(weights, left, right, (Bits(),)), TypeError, "units must be a kind for the left"),
        (lambda: GraphMachine(GRAPH, torch.zeros(5), torch.zeros(5), Gaussian()), ValueError, "units must be Bits"),
        (lambda: GraphMachine(GRAPH, torch.zeros(5), torch.zeros(15), Potts(3)), ValueError, r"shape \[5, 3, 3\]"),
        (lambda: machine.log_marginal(torch.zeros(4)), ValueError, "visible must have a multiple of 3 columns"),
        (lambda: spins_from_bits(machine), ValueError, r"machine must have units in \{0, 1\}, got Potts\(3\)"),
        (lambda: quadratic_model(machine), ValueError, r"machine must have units in \{0, 1\}, got Potts\(3\)"),
        (lambda: estimate_inverse_temperature(machine, torch.zeros(5, 15)), ValueError, r"units in \{0, 1\}"),
        (
            lambda: potts_machine(Graph.complete(12), 4).log_partition(),
            ValueError,
            "width at most 10 for exact sums, got at least 11",
        ),
        (lambda: layers(60, 60, Potts(5)).log_partition(), ValueError, r"or 2\^22 states, .* Potts\(5\)"),
    ]:
        with pytest.raises(error, match=message):
            make()
