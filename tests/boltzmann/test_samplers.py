"""Samplers of one protocol: they leave the machine invariant, know log Z with an honest error, or refuse."""

import math

import networkx
import pytest
import torch
from boltzmann_machines import all_states, ferromagnet, random_graph_machine, random_machine
from torch.fx.experimental.proxy_tensor import make_fx

from pyrodgm.boltzmann import (
    BipartiteMachine,
    Dimod,
    Gibbs,
    Graph,
    GraphMachine,
    ParallelTempering,
    PopulationAnnealing,
    estimate_inverse_temperature,
)
from pyrodgm.boltzmann.samplers.bridges import bridge_log_ratios
from pyrodgm.boltzmann.samplers.dimod import quadratic_model, states_of
from pyrodgm.boltzmann.temperature import score_inverse_temperature

GRAPH = Graph.from_networkx(networkx.random_regular_graph(4, 12, seed=1))
SAMPLERS = [Gibbs(30), PopulationAnnealing(), PopulationAnnealing(30, 2), ParallelTempering(6, 30)]
MACHINES = {
    "graph": lambda coupling: random_graph_machine(GRAPH, coupling),
    "full": lambda coupling: random_graph_machine(Graph.complete(7), coupling),
    "layers": lambda coupling: BipartiteMachine(*random_machine(5, 6, coupling)),
}


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_samples_have_the_machines_moments(sampler, machine):
    machine = machine(1.0)
    state = sampler.start(machine, 3000)
    before = {name: value.clone() for name, value in state.items()}
    samples = sampler.sample(machine, state)
    assert all(torch.equal(state[name], value) for name, value in before.items())
    assert {k: v.shape for k, v in samples.state.items()} == {k: v.shape for k, v in state.items()}
    again = sampler.sample(machine, samples.state)
    exact = machine.exact_moments()
    for got, want in zip(machine.sample_moments(again.states), exact, strict=True):
        assert (got - want).abs().max() < 0.05
    if again.log_partition is not None:
        error = again.log_partition.value - machine.log_partition()
        assert error.abs() < 4.5 * again.log_partition.standard_error


def test_a_call_of_parallel_tempering_leaves_every_temperature_invariant():
    """From exact draws at each temperature, after sweeps and exchanges: chi-squared over all states."""
    machine = random_graph_machine(Graph(4, [(0, 1), (1, 2), (0, 2), (2, 3)]), 2.5)
    energy, n = machine.negative_energy(all_states(4)), 40_000
    betas = torch.tensor([0.0, 0.3, 0.7, 1.0], dtype=torch.float64)
    p = (betas[:, None] * energy).softmax(-1)
    draws = all_states(4)[torch.multinomial(p, n, replacement=True)]
    state = {"states": draws[-1], "hotter": draws[:-1], "inverse_temperatures": betas}
    samples = ParallelTempering(4, 2, adapt=False).sample(machine, state)
    after = torch.cat([samples.state["hotter"], samples.states[None]])
    index = (after @ torch.tensor([8.0, 4.0, 2.0, 1.0])).long()
    for k in range(4):
        counts = torch.bincount(index[k], minlength=16)
        likely = n * p[k] > 10
        chi = ((counts - n * p[k])[likely].square() / (n * p[k])[likely]).sum()
        assert chi < likely.sum() + 5 * (2 * likely.sum()) ** 0.5
    # exchange rates by enumeration of pairs
    for k, rate in enumerate(samples.diagnostics["exchange_rates"]):
        accept = ((betas[k + 1] - betas[k]) * (energy[:, None] - energy[None])).clamp(max=0.0).exp()
        assert rate.item() == pytest.approx((p[k] @ accept @ p[k + 1]).item(), abs=0.01)


def test_exchanges_keep_states_in_their_ladder():
    machine = GraphMachine(Graph(3, []), torch.zeros(0), torch.full((3,), 30.0))
    sampler = ParallelTempering(3, 2)
    states = sampler.sample(machine, sampler.start(machine, 1000))
    assert states.states.mean() == 1.0
    assert 0.4 < states.state["hotter"][0].mean() < 0.6


def test_temperatures_adapt_to_equal_rates():
    machine = random_graph_machine(GRAPH, 6.0)
    sampler = ParallelTempering(8, 10)
    state, spread = sampler.start(machine, 300), []
    for _ in range(12):
        samples = sampler.sample(machine, state)
        state = samples.state
        rates = samples.diagnostics["exchange_rates"]
        spread.append((rates.max() - rates.min()).item())
    betas = state["inverse_temperatures"]
    assert betas[0] == 0.0
    assert betas[-1] == 1.0
    assert (betas.diff() > 0).all()
    assert spread[-1] < 0.15 < spread[0]
    fixed = ParallelTempering(8, 2, adapt=False).sample(machine, state)
    assert torch.equal(fixed.state["inverse_temperatures"], betas)


@pytest.mark.slow
@pytest.mark.parametrize("coupling", [0.5, 4.0])
def test_errors_of_log_partition_are_those_of_repeated_runs(coupling):
    machine = random_graph_machine(GRAPH, coupling)
    exact, z = machine.log_partition(), []
    sampler = ParallelTempering(8, 20)
    for _ in range(12):
        state = sampler.start(machine, 60)
        for _ in range(2):
            samples = sampler.sample(machine, state)
            state = samples.state
        z.append((samples.log_partition.value - exact) / samples.log_partition.standard_error)
    z = torch.stack(z)
    assert z.abs().max() < 4.5
    assert 0.4 < z.std() < 1.9


def test_bridges_solve_bennetts_equation_and_need_no_overlap_beyond_doubles():
    """Independent exact draws of a machine of one unit, whose partition functions are known."""
    bias, n = 3.0, 200_000
    betas = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    energy = bias * (torch.rand(3, n, 1) < (betas * bias).sigmoid()[:, None, None]).double()
    ratios, error = bridge_log_ratios(betas, energy)
    expected = torch.nn.functional.softplus(betas * bias).diff()
    assert (ratios.sum() - expected.sum()).abs() < 5 * error
    width = betas.diff()[:, None, None]
    up, down = (width * energy[:-1] - ratios[:, None, None]), (ratios[:, None, None] - width * energy[1:])
    torch.testing.assert_close(up.sigmoid().mean((1, 2)), down.sigmoid().mean((1, 2)))


def test_two_modes_are_shared_out_by_their_weight():
    """Chains keep the mode that they fell into; ladders find the odds."""
    machine = BipartiteMachine(*ferromagnet(10, 1.0, 0.09))
    exact = machine.exact_moments()[1].mean().item()
    assert 0.84 < exact < 0.88
    sampler = ParallelTempering(8, 60)
    state = sampler.start(machine, 400)
    for _ in range(2):
        samples = sampler.sample(machine, state)
        state = samples.state
    assert samples.states.mean().item() == pytest.approx(exact, abs=0.06)
    chains = Gibbs(200)
    stuck = chains.sample(machine, chains.start(machine, 400)).states.mean().item()
    assert abs(stuck - exact) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler", [Gibbs(2), PopulationAnnealing(4), ParallelTempering(3, 2)], ids=lambda s: type(s).__name__
)
def test_calls_trace_and_follow_other_parameters(sampler):
    graph = Graph(5, [(0, 1), (1, 2), (0, 2), (3, 4)])

    def run(couplings, biases, state):
        samples = sampler.sample(GraphMachine(graph, couplings, biases), state)
        return dict(samples.state), None if samples.log_partition is None else samples.log_partition.value

    first, second = (random_graph_machine(graph, c).parameters for c in (0.2, 2.0))
    state = sampler.start(GraphMachine(graph, *first), 20)
    traced_run = make_fx(run)(*first, state)
    results = []
    for call in (traced_run, run):
        torch.manual_seed(3)
        results.append(call(*second, state))
    for name, value in results[1][0].items():
        torch.testing.assert_close(results[0][0][name], value)


def test_inverse_temperature_is_found_with_its_error():
    machine = random_graph_machine(GRAPH, 1.0)
    for beta in (0.3, 1.0, 2.5):
        hot = GraphMachine(GRAPH, *(beta * t for t in machine.parameters))
        found = [estimate_inverse_temperature(machine, hot.exact_samples(500)) for _ in range(20)]
        z = torch.tensor([(f.value - beta) / f.standard_error for f in found])
        assert z.abs().max() < 4.5
        assert 0.5 < z.std() < 1.6
    draws = machine.exact_samples(5000)
    assert abs(score_inverse_temperature(machine, draws, 1.0)) < 4.5
    assert score_inverse_temperature(machine, draws, 0.8) > 4.5
    assert score_inverse_temperature(machine, draws, 1.25) < -4.5
    minus = GraphMachine(GRAPH, *(-t for t in machine.parameters))
    assert estimate_inverse_temperature(minus, machine.exact_samples(2000)).value == pytest.approx(-1.0, abs=0.2)
    free = GraphMachine(GRAPH, torch.zeros(24), torch.zeros(12))
    assert estimate_inverse_temperature(free, machine.exact_samples(5)) == (1.0, math.inf)
    with pytest.raises(ValueError, match="with N at least 2"):
        estimate_inverse_temperature(machine, torch.zeros(1, 12))


def test_quadratic_models_and_columns_keep_signs_and_order():
    dimod = pytest.importorskip("dimod")
    graph = Graph(4, [(0, 1), (1, 2), (0, 2), (2, 3)], labels=["d", "b", "c", "a"])
    for machine in (random_graph_machine(graph, 1.0), BipartiteMachine(*random_machine(2, 3))):
        model = quadratic_model(machine, 2.0)
        labels = list(model.variables)
        assert labels == (["d", "b", "c", "a"] if machine.num_units == 4 else list(range(5)))
        for state in all_states(machine.num_units):
            energy = model.energy(dict(zip(labels, state.int().tolist(), strict=True)))
            assert energy == pytest.approx(-2.0 * machine.negative_energy(state).item())
        # the exact solver returns all states, sorted by label or as they came
        solved = dimod.ExactSolver().sample(model)
        back = states_of(solved, labels)
        energies = torch.tensor(solved.record.energy.tolist())
        torch.testing.assert_close(-2.0 * machine.negative_energy(back.double()), energies)
        spins = dimod.ExactSolver().sample(model.change_vartype("SPIN", inplace=False))
        torch.testing.assert_close(
            -2.0 * machine.negative_energy(states_of(spins, labels).double()),
            torch.tensor(spins.record.energy.tolist()),
        )
    repeated = dimod.SampleSet.from_samples(
        (torch.tensor([[1, 0], [0, 0]]).numpy(), ["b", "a"]), "BINARY", [0.0, 0.0], num_occurrences=[2, 1]
    )
    assert states_of(repeated, ["a", "b"]).tolist() == [[0, 1], [0, 1], [0, 0]]


def test_simulated_annealing_at_the_machines_temperature_and_refused_at_its_own():
    samplers = pytest.importorskip("dwave.samplers")
    # balanced couplings; int8 states would wrap in sums over 300 reads
    machine = random_graph_machine(GRAPH, 1.0)
    annealer = samplers.SimulatedAnnealingSampler()
    right = Dimod(annealer, {"beta_range": (0.01, 1.0), "num_sweeps": 200, "seed": 1})
    samples = right.sample(machine, right.start(machine, 2000))
    exact = machine.exact_moments()
    for got, want in zip(machine.sample_moments(samples.states), exact, strict=True):
        assert (got - want).abs().max() < 0.06
    assert samples.diagnostics["inverse_temperature"].item() == pytest.approx(1.0, abs=0.1)
    assert samples.log_partition is None
    cold = Dimod(annealer, {"seed": 1})
    with pytest.raises(ValueError, match=r"inverse temperature in \[0.8, 1.25\], got .*beta_range=\(0.01, 1.0\)"):
        cold.sample(machine, cold.start(machine, 200))
    hot = Dimod(annealer, {"beta_range": (0.01, 0.5), "num_sweeps": 200, "seed": 1})
    with pytest.raises(ValueError, match=r"got 0\.[45].* scale, now 1.0"):
        hot.sample(machine, hot.start(machine, 2000))
    rescaled = Dimod(annealer, {"beta_range": (0.01, 0.5), "num_sweeps": 200, "seed": 1}, scale=2.0)
    assert rescaled.sample(machine, hot.start(machine, 500)).states.shape == (500, 12)


def test_bad_samplers_are_refused():
    for make, message in [
        (lambda: Gibbs(0), "num_sweeps must be at least 1, got 0"),
        (lambda: PopulationAnnealing(0), "num_temperatures must be at least 1, got 0"),
        (lambda: ParallelTempering(1), "num_temperatures must be at least 2, got 1"),
        (lambda: ParallelTempering(num_rounds=1), "num_rounds must be at least 2, got 1"),
        (lambda: Dimod(None, scale=0.0), "scale must be finite and greater than 0, got 0"),
        (lambda: Dimod(None, band=(1.2, 0.9)), "band must be increasing"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
    dimod = pytest.importorskip("dimod")
    machine = random_graph_machine(Graph.complete(3), 1.0)

    class Few(dimod.Sampler):
        parameters, properties = {}, {}

        def sample(self, bqm, **options):
            return dimod.ExactSolver().sample(bqm)

    with pytest.raises(ValueError, match="must give the 100 reads that it is asked for, got 8"):
        Dimod(Few()).sample(machine, {"states": torch.zeros(100, 3)})
    with pytest.raises(RuntimeError, match="compile='eager'"):
        make_fx(lambda w: Dimod(Few()).sample(GraphMachine(machine.graph, w, machine.biases), {"states": w}).states)(
            machine.couplings
        )
