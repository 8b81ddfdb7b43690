"""Machines on graphs against sums over all states, exact transition matrices, and the two layers of old."""

import itertools
import math

import networkx
import pytest
import torch
from boltzmann_machines import all_states, random_graph_machine, random_machine

from pyrodgm.boltzmann import BipartiteMachine, Graph, GraphMachine, anneal_population

GRAPHS = {
    "full": Graph.complete(5),
    "ring and tail": Graph(7, [(0, 1), (2, 1), (3, 2), (0, 3), (2, 5), (5, 6)]),  # unit 4 has no neighbour
    "petersen": Graph.from_networkx(networkx.petersen_graph()),
    "bipartite": Graph.bipartite(4, 3),
    "none": Graph(3, []),
}
each_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS.keys())


def energies(machine):
    """All states and minus their energies, pair by pair."""
    states = all_states(machine.num_units)
    energy = states @ machine.biases
    for w, (i, j) in zip(machine.couplings, machine.graph.edges.tolist(), strict=True):
        energy = energy + w * states[:, i] * states[:, j]
    return states, energy


@each_graph
@pytest.mark.parametrize("coupling", [0.5, 4.0])
def test_sums_and_gradients_are_those_over_all_states(graph, coupling):
    machine = random_graph_machine(graph, coupling)
    leaves = [t.requires_grad_() for t in machine.parameters]
    states, energy = energies(machine)
    torch.testing.assert_close(machine.negative_energy(states), energy)
    value, expected = machine.log_partition(), energy.logsumexp(0)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    attached = machine.attach_moments(expected, machine.exact_moments())
    assert attached.item() == expected.item()
    for got in (value, attached):
        gradients = torch.autograd.grad(got, leaves, materialize_grads=True)
        wanted = torch.autograd.grad(expected, leaves, retain_graph=True, materialize_grads=True)
        for a, b in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@each_graph
def test_fields_are_differences_of_energies(graph):
    machine = random_graph_machine(graph, 1.0)
    states = all_states(machine.num_units)
    for i in range(machine.num_units):
        on, off = states.clone(), states.clone()
        on[:, i], off[:, i] = 1.0, 0.0
        difference = machine.negative_energy(on) - machine.negative_energy(off)
        torch.testing.assert_close(machine.fields(states)[:, i], difference)
    dense = states @ machine.coupling_matrix() + machine.biases
    torch.testing.assert_close(machine.fields(states), dense)


def transition(machine, beta=1.0, base=None):
    """The matrix of a sweep: the product over colours of those that draw their units given the others."""
    graph, states = machine.graph, all_states(machine.num_units)
    base = torch.zeros_like(machine.biases) if base is None else base
    logits = beta * machine.fields(states) + (1.0 - beta) * base
    total = torch.eye(len(states))
    for color in graph.colors.unique():
        own = graph.colors == color
        on = logits.sigmoid()[:, None, :]
        each = torch.where(states[None] == 1.0, on, 1.0 - on)
        same = (states[:, None, ~own] == states[None, :, ~own]).all(-1)
        total = total @ (each[..., own].prod(-1) * same)
    return total


@pytest.mark.parametrize("name", ["path", "full", "triangle"])
def test_sweeps_have_the_transition_matrix_of_the_conditionals_and_leave_the_machine_invariant(name):
    edges = {"path": [(0, 1), (1, 2), (2, 3)], "full": [(0, 1), (0, 2), (1, 2)], "triangle": [(0, 1), (1, 2), (0, 2)]}
    graph = Graph(3 if name == "full" else 4, edges[name])
    machine = random_graph_machine(graph, 1.5)
    states = all_states(graph.num_units)
    matrix = transition(machine)
    p = machine.negative_energy(states).softmax(0)
    torch.testing.assert_close(p @ matrix, p)
    base = torch.linspace(-1.0, 1.0, graph.num_units)
    powers = 2.0 ** torch.arange(graph.num_units - 1, -1, -1)
    n = 20_000
    for beta, shift in ((1.0, None), (0.4, base)):
        expected = transition(machine, beta, shift)
        swept = machine.sweep(states.repeat_interleave(n, 0), 1, beta, shift)
        torch.testing.assert_close(swept.negative_energy, machine.negative_energy(swept.states))
        index = (swept.states @ powers).long().reshape(len(states), n)
        counts = torch.zeros(len(states), len(states)).scatter_add(1, index, torch.ones(index.shape))
        assert ((counts - n * expected).abs() < 5 * (n * expected).sqrt() + 5).all()
        if shift is not None:  # and its stationary distribution is that of the docstring
            q = (beta * machine.negative_energy(states) + (1 - beta) * states @ base).softmax(0)
            torch.testing.assert_close(q @ expected, q)


def test_each_row_may_have_its_own_temperature():
    for machine in (random_graph_machine(GRAPHS["ring and tail"], 2.0), BipartiteMachine(*random_machine(4, 3, 2.0))):
        states = all_states(7)
        energy = machine.negative_energy(states)
        betas, n = torch.tensor([0.1, 1.0, 0.5]), 10_000
        swept = machine.sweep(machine.random_states(3 * n), 30, betas.repeat_interleave(n)).states.reshape(3, n, 7)
        for beta, rows in zip(betas, swept, strict=True):
            assert (rows.mean(0) - (beta * energy).softmax(0) @ states).abs().max() < 0.03


def test_two_layers_are_the_same_on_either_path():
    weights, left, right = random_machine(4, 6, 1.2)
    fast = BipartiteMachine(weights, left, right)
    slow = GraphMachine(Graph.bipartite(4, 6), weights.flatten(), torch.cat([left, right]))
    states = all_states(10)
    torch.testing.assert_close(fast.biases, slow.biases)
    torch.testing.assert_close(fast.coupling_matrix(), slow.coupling_matrix())
    for of in (
        lambda m: m.negative_energy(states),
        lambda m: m.fields(states),
        lambda m: m.log_partition(),
        lambda m: m.shifted(states).log_partition(),
    ):
        torch.testing.assert_close(of(fast), of(slow))
    for a, b in zip(fast.exact_moments(), slow.exact_moments(), strict=False):
        torch.testing.assert_close(a.flatten(), b[: a.numel()])
    # the same bound where the colours are visited in the same order
    swapped = Graph(10, slow.graph.edges, [1] * 4 + [0] * 6)
    same = GraphMachine(swapped, slow.couplings, slow.biases)
    torch.testing.assert_close(same.mean_field(1), fast.mean_field(1))
    torch.testing.assert_close(same.mean_field(40), fast.mean_field(40))
    sample = slow.exact_samples(20_000)
    fast_moments, slow_moments = fast.sample_moments(sample), slow.sample_moments(sample)
    torch.testing.assert_close(fast_moments.weights.flatten(), slow_moments.couplings, rtol=0, atol=0.01)
    torch.testing.assert_close(torch.cat(fast_moments[1:]), slow_moments.biases)


@each_graph
def test_exact_samples_moments_and_weights(graph):
    machine = random_graph_machine(graph, 1.5)
    states, energy = energies(machine)
    p, n = energy.softmax(0), 40_000
    draws = machine.exact_samples(n)
    index = (draws @ 2.0 ** torch.arange(graph.num_units - 1, -1, -1)).long()
    counts = torch.bincount(index, minlength=len(p))
    likely = n * p > 10
    assert ((counts - n * p)[likely].square() / (n * p)[likely]).sum() < likely.sum() + 5 * (2 * likely.sum()) ** 0.5
    exact = machine.exact_moments()
    for got in (machine.sample_moments(draws), machine.sample_moments(states, p)):
        for a, b in zip(got, exact, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0.015)
    for a, b in zip(machine.sample_moments(states, p), exact, strict=True):
        torch.testing.assert_close(a, b)  # weighted by their probabilities, all states give the exact moments


def test_biases_of_a_batch_are_those_one_by_one():
    machine = random_graph_machine(GRAPHS["petersen"], 1.0)
    shifts = torch.randn(3, 2, 10)
    batch = machine.shifted(shifts)
    assert batch.batch_shape == (3, 2)
    moments, draws = batch.exact_moments(), batch.exact_samples(4000)
    assert draws.shape == (4000, 3, 2, 10)
    states = all_states(10)[:7].reshape(7, 1, 1, 10)
    for i, j in itertools.product(range(3), range(2)):
        own = machine.shifted(shifts[i, j])
        torch.testing.assert_close(batch.log_partition()[i, j], own.log_partition())
        torch.testing.assert_close(batch.mean_field(3)[i, j], own.mean_field(3))
        torch.testing.assert_close(batch.negative_energy(states)[:, i, j], own.negative_energy(states[:, 0, 0]))
        torch.testing.assert_close(batch.fields(states)[:, i, j], own.fields(states[:, 0, 0]))
        for a, b in zip(moments, own.exact_moments(), strict=True):
            torch.testing.assert_close(a[i, j], b)
        assert (draws[:, i, j].mean(0) - own.exact_moments().biases).abs().max() < 0.04
    swept = batch.gibbs(draws, 20)
    assert (swept.mean(0) - moments.biases).abs().max() < 0.04


@pytest.mark.slow
@each_graph
@pytest.mark.parametrize("coupling", [0.3, 2.0])
def test_mean_field_is_a_lower_bound_that_iterations_raise(graph, coupling):
    for seed in range(5):
        machine = random_graph_machine(graph, coupling, seed)
        values = [machine.mean_field(k).item() for k in (1, 2, 5, 50)]
        assert all(later >= former - 1e-12 for former, later in itertools.pairwise(values))
        assert values[-1] <= machine.log_partition().item() + 1e-12
    leaves = [t.requires_grad_() for t in machine.parameters]
    gradients = torch.autograd.grad(machine.mean_field(500), leaves, materialize_grads=True)
    with torch.no_grad():
        step, biases = 1e-5, leaves[1]
        e = torch.zeros_like(biases)
        e[0] = step
        above, below = machine.shifted(e).mean_field(500), machine.shifted(-e).mean_field(500)
    assert gradients[1][0].item() == pytest.approx((above - below).item() / (2 * step), rel=1e-5)


@pytest.mark.parametrize("coupling", [0.5, 2.0])
def test_annealing_covers_the_exact_value(coupling):
    graph = Graph.from_networkx(networkx.random_regular_graph(4, 16, seed=1))
    machine = random_graph_machine(graph, coupling)
    exact = machine.log_partition()
    base = torch.linspace(-1.0, 1.0, 16)
    runs = [machine.estimate_log_partition(100, 200, b) for b in (None, base) for _ in range(4)]
    z = torch.stack([(r.value - exact) / r.standard_error for r in runs])
    assert z.abs().max() < 4.5
    populations = [anneal_population(machine, 1000, num_sweeps=2) for _ in range(6)]
    z = torch.stack([(r.log_partition - exact) / r.estimate.standard_error for r in populations])
    assert z.abs().max() < 4.5
    assert z.std() > 0.1  # the error bar is not idle
    activity = torch.stack([r.states.mean(0) for r in populations]).mean(0)
    assert (activity - machine.exact_moments().biases).abs().max() < 0.06
    free = anneal_population(GraphMachine(graph, torch.zeros(32), torch.zeros(16)), 100).estimate
    assert free.standard_error == 0.0
    assert free.value.item() == pytest.approx(16 * math.log(2.0))


def test_float32_stays_float32_and_elimination_is_accurate_on_a_long_grid():
    graph = Graph.from_networkx(networkx.grid_2d_graph(8, 12))
    machine = random_graph_machine(graph, 1.0)
    single = GraphMachine(graph, *(t.float() for t in machine.parameters))
    assert single.log_partition().item() == pytest.approx(machine.log_partition().item(), rel=1e-6)
    states = single.gibbs(single.random_states(5), 2)
    assert states.dtype == single.exact_samples(3).dtype == single.mean_field().dtype == torch.float32
    assert single.sample_moments(states).couplings.dtype == torch.float32
    # transfer matrices: an 8-row state at a time
    rows = all_states(8)
    log_z, before = torch.zeros(1), list[int]()
    weight = {(a, b): w for w, (a, b) in zip(machine.couplings, graph.edges.tolist(), strict=True)}
    number = {label: i for i, label in enumerate(graph.labels)}
    for column in range(12):
        own = [number[(r, column)] for r in range(8)]
        inner = rows @ machine.biases[own]
        for a in range(7):
            inner = inner + weight[tuple(sorted((own[a], own[a + 1])))] * rows[:, a] * rows[:, a + 1]
        if column:
            pair = torch.stack([weight[tuple(sorted((last, here)))] for last, here in zip(before, own, strict=True)])
            log_z = (log_z[:, None] + (rows * pair) @ rows.mT).logsumexp(0)
        log_z, before = log_z + inner, own
    assert machine.log_partition().item() == pytest.approx(log_z.logsumexp(0).item(), rel=1e-12)


def test_bad_machines_are_refused():
    graph = Graph(3, [(0, 1), (1, 2)])
    good = torch.zeros(2), torch.zeros(3)
    for parameters, message in [
        ((torch.zeros(3), good[1]), r"couplings must have shape \[2\], one for each edge, got \[3\]"),
        ((torch.zeros(4, 2), good[1]), r"couplings must have shape \[2\]"),
        ((good[0], torch.zeros(4)), r"biases must have shape \[\*batch, 3\], got \[4\]"),
        ((torch.tensor([0.0, math.nan]), good[1]), "couplings must be finite"),
        ((good[0], torch.tensor([0.0, math.inf, 0.0])), "biases must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            GraphMachine(graph, *parameters)
    machine = GraphMachine(graph, *good)
    for of in (machine.negative_energy, machine.fields, machine.gibbs, machine.sweep, machine.sample_moments):
        with pytest.raises(ValueError, match=r"states must have shape \[\*, 3\], got \[5, 2\]"):
            of(torch.zeros(5, 2))
    batch = machine.shifted(torch.zeros(4, 3))
    for of in (anneal_population, lambda m: m.estimate_log_partition(10, 10)):
        with pytest.raises(ValueError, match=r"machine must be one, without batch dimensions, got \[4\]"):
            of(batch)
    with pytest.raises(ValueError, match="num_sweeps must be at least 1, got 0"):
        machine.gibbs(torch.zeros(5, 3), 0)
    with pytest.raises(ValueError, match="num_iterations must be at least 1, got 0"):
        machine.mean_field(0)
