"""Log Z by annealing beside exact sums, chains beside populations on a machine of two modes, and what a sweep costs.

python benchmarks/boltzmann.py --tables accuracy graphs modes cost
"""

import statistics
from dataclasses import dataclass
from typing import Literal

import dwave.graphs
import harness
import torch
import tyro
from dwave.samplers import SimulatedAnnealingSampler
from torch import Tensor

from pyrodgm.boltzmann import (
    BipartiteMachine,
    Dimod,
    Graph,
    GraphMachine,
    LogPartition,
    Machine,
    ParallelTempering,
    advance_chains,
    anneal_population,
    annealed_importance_sampling,
    exact_log_partition,
    exact_moments,
    gibbs_sweeps,
    population_annealing,
    random_states,
)

Layers = tuple[Tensor, Tensor, Tensor]
Table = Literal["accuracy", "graphs", "modes", "cost"]

SIZES = [(12, 12), (16, 16), (16, 200)]
COUPLINGS = [0.1, 0.5, 1.0, 2.0, 4.0]


@dataclass(frozen=True)
class Config:
    """Estimates of log Z, samplers where there are two modes, and the time of a sweep."""

    tables: tuple[Table, ...] = ("accuracy", "graphs", "modes", "cost")
    """accuracy: annealing beside exact sums; graphs: that and parallel tempering on three graphs; modes: chains beside
    populations, ladders and simulated annealing; cost: one sweep."""
    seeds: int = 5
    """Machines, or runs, a row."""
    rounds: int = 100
    """Timed calls of each way."""
    device: str = "cpu"
    """Where to run."""
    json: str | None = None
    """File for the times."""


def random_machine(left: int, right: int, coupling: float, seed: int, device: str) -> Layers:
    """Normal couplings of a standard deviation, and biases that leave the units balanced but for a random field."""
    generator = torch.Generator().manual_seed(seed)
    weights = coupling * torch.randn(left, right, generator=generator)
    left_bias = 0.3 * torch.randn(left, generator=generator) - 0.5 * weights.sum(1)
    right_bias = 0.3 * torch.randn(right, generator=generator) - 0.5 * weights.sum(0)
    return weights.to(device), left_bias.to(device), right_bias.to(device)


def two_modes(units: int, coupling: float, field: float, device: str) -> Layers:
    """Every unit drives every other on the other side: all on or all off; a positive field favours on."""
    bias = torch.full((units,), -0.5 * coupling * units + field, device=device)
    return torch.full((units, units), coupling, device=device), bias, bias.clone()


def accuracy(seeds: int, device: str) -> None:
    print(
        f"\nEstimates of log Z less the exact value, in nats: mean ± standard deviation over {seeds} random machines. "
        "AIS: 1,000\ntemperatures, 1,024 chains; the error bar is the mean of those that it gives. Population: 1,024 "
        "members, 5 sweeps a\ntemperature, adaptive steps.\n"
    )
    print("| units | coupling | log Z | AIS | error bar | largest error / bar | population | temperatures | families |")
    print("|---|---|---|---|---|---|---|---|---|")
    for left, right in SIZES:
        for coupling in COUPLINGS:
            rows = []
            for seed in range(seeds):
                machine = random_machine(left, right, coupling, seed, device)
                exact = exact_log_partition(*(t.double() for t in machine)).item()
                torch.manual_seed(seed)
                ais = annealed_importance_sampling(*machine)
                pa = population_annealing(*machine, num_sweeps=5)
                error = ais.value.item() - exact
                bar = ais.standard_error.item()
                rows.append(
                    (
                        exact,
                        error,
                        bar,
                        abs(error) / bar,
                        pa.log_partition.item() - exact,
                        len(pa.inverse_temperatures),
                        pa.num_families.item(),
                    )
                )
            exact, ais, bar, worst, pa, steps, families = zip(*rows, strict=True)
            print(
                f"| {left} + {right} | {coupling} | {statistics.mean(exact):.1f} | {spread(ais)} "
                f"| {statistics.mean(bar):.4f} | {max(worst):.1f} | {spread(pa)} | {statistics.mean(steps):.0f} "
                f"| {statistics.mean(families):.0f} |"
            )


def spread(values: tuple[float, ...]) -> str:
    return f"{statistics.mean(values):+.4f} ± {statistics.stdev(values):.4f}"


def graphs() -> dict[str, Graph]:
    zephyr = Graph.from_networkx(dwave.graphs.zephyr_graph(1))
    return {"two layers, 16 + 32": Graph.bipartite(16, 32), "Zephyr, 48": zephyr, "full, 20": Graph.complete(20)}


def on_graph(graph: Graph, coupling: float, seed: int, device: str) -> GraphMachine:
    """Normal couplings of a standard deviation, and biases that leave the units balanced but for a random field."""
    generator = torch.Generator().manual_seed(seed)
    couplings = coupling * torch.randn(len(graph.edges), generator=generator)
    biases = 0.3 * torch.randn(graph.num_units, generator=generator)
    for end in (0, 1):
        biases.index_add_(0, graph.edges[:, end], -0.5 * couplings)
    return GraphMachine(graph, couplings.to(device), biases.to(device))


def tempered(machine: Machine, ladders: int = 48) -> tuple[LogPartition, float]:
    """Log Z by parallel tempering after its temperatures have adapted, and the least rate of exchange."""
    sampler = ParallelTempering(num_temperatures=12, num_rounds=30)
    state = sampler.start(machine, ladders)
    for _ in range(7):
        samples = sampler.sample(machine, state)
        state = samples.state
    return samples.log_partition, samples.diagnostics["exchange_rates"].min().item()


def accuracy_on_graphs(seeds: int, device: str) -> None:
    print(
        f"\nEstimates of log Z on graphs less the exact value, in nats: mean ± standard deviation over {seeds} random "
        "machines, and\nthe largest error in units of its own error bar. AIS: 300 temperatures, 256 chains. "
        "Population: 512 members, 3 sweeps a\ntemperature, adaptive steps. Parallel tempering: 48 ladders of 12 "
        "temperatures, six calls of 30 rounds to settle and one\nto estimate.\n"
    )
    print(
        "| graph | coupling | log Z | AIS | error / bar | population | error / bar | tempering | error / bar | rate |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, graph in graphs().items():
        for coupling in COUPLINGS:
            rows = []
            for seed in range(seeds):
                machine = on_graph(graph, coupling, seed, device)
                exact = GraphMachine(graph, *(t.double() for t in machine.parameters)).log_partition().item()
                torch.manual_seed(seed)
                estimates = [machine.estimate_log_partition(300, 256)]
                estimates.append(anneal_population(machine, 512, num_sweeps=3).estimate)
                ladder, rate = tempered(machine)
                errors = [(e.value.item() - exact, e.standard_error.item()) for e in (*estimates, ladder)]
                rows.append((exact, *(e for e, _ in errors), *(abs(e) / bar for e, bar in errors), rate))
            exact, ais, pa, pt, *worst, rates = zip(*rows, strict=True)
            bars = [f"{max(values):.1f}" for values in worst]
            print(
                f"| {name} | {coupling} | {statistics.mean(exact):.1f} | {spread(ais)} | {bars[0]} | {spread(pa)} "
                f"| {bars[1]} | {spread(pt)} | {bars[2]} | {min(rates):.2f} |",
                flush=True,
            )


def modes(seeds: int, device: str, units: int = 20, field: float = 0.03) -> None:
    print(
        f"\nShare of units that are on in a machine of {units} + {units} units with two modes, all on and all off: "
        f"mean ± standard\ndeviation over {seeds} runs. 1,000 chains start from fair coins and make 2,000 sweeps; or "
        "they follow the machine, as in\ntraining, while its field goes from favouring off to favouring on in 50 steps "
        "of 40 sweeps each. Population: 1,000\nmembers, 40 temperatures, 1 sweep at each.\n"
    )
    print("| coupling | exact | chains from coins | chains that follow | population | families | ladders | annealing |")
    print("|---|---|---|---|---|---|---|---|")
    for coupling in (0.05, 0.15, 0.2, 0.3, 0.5, 1.0):
        machine = two_modes(units, coupling, field, device)
        exact = exact_moments(*(t.double() for t in machine)).left.mean().item()
        rows = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            left, right = random_states(machine[0], 1000)
            advance_chains(*machine, left, right, 2000)
            followed = [torch.zeros_like(t) for t in (left, right)]
            for k in range(51):
                now = two_modes(units, coupling, field * (2 * k / 50 - 1), device)
                advance_chains(*now, *followed, 40)
            pa = population_annealing(*machine, 1000, num_temperatures=40)
            whole, ladders = BipartiteMachine(*machine), ParallelTempering(num_rounds=40)
            state = ladders.start(whole, 1000)
            for _ in range(2):
                state = ladders.sample(whole, state).state
            options = {"beta_range": (0.01, 1.0), "num_sweeps": 1000, "seed": seed}
            reads = Dimod(SimulatedAnnealingSampler(), options).sample(whole, state)
            tried = (left, followed[0], pa.left, state["states"][:, :units], reads.states[:, :units])
            rows.append([t.mean().item() for t in tried] + [pa.num_families.item()])
        *shares, families = zip(*rows, strict=True)
        shares = [f"{statistics.mean(v):.3f} ± {statistics.stdev(v):.3f}" for v in shares]
        shares.insert(3, f"{statistics.mean(families):.0f}")
        print(f"| {coupling} | {exact:.3f} | {' | '.join(shares)} |", flush=True)


def sweep_cost(rounds: int, device: str, chains: int = 1000, units: int = 200) -> dict:
    weights, left_bias, right_bias = random_machine(units, units, 0.1, 0, device)
    left, right = random_states(weights, chains)
    transposed = weights.mT.contiguous()

    def parts() -> None:
        left @ weights
        right @ transposed
        torch.rand(chains, units, device=device)
        torch.rand(chains, units, device=device)

    floor = "its two matrix products and random numbers"
    ways = {"one Gibbs sweep": lambda: gibbs_sweeps(weights, left_bias, right_bias, left), floor: parts}
    first = {name: harness.first_call(way, device) for name, way in ways.items()}
    times = harness.alternate(ways, rounds, device)
    title = f"A sweep of {chains:,} chains, {units} + {units} units, float32"
    return harness.report(title, times, first, "one Gibbs sweep", {floor: 2.0})


def main(config: Config) -> None:
    torch.manual_seed(0)
    print(harness.describe_machine(config.device))
    results = {}
    if "accuracy" in config.tables:
        accuracy(config.seeds, config.device)
    if "graphs" in config.tables:
        accuracy_on_graphs(config.seeds, config.device)
    if "modes" in config.tables:
        modes(config.seeds, config.device)
    if "cost" in config.tables:
        results["sweep"] = sweep_cost(config.rounds, config.device)
    harness.write_json(config.json, results)


if __name__ == "__main__":
    main(tyro.cli(Config))
