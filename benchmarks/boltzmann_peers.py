"""A sweep beside those of rbms and of dwave-pytorch-plugin, taking turns in one process.

The peers go into an environment of their own:

python -m venv peers
peers/bin/pip install -e .[annealers] networkx tyro rbms==0.5.0 dwave-pytorch-plugin==0.4.0
peers/bin/python benchmarks/boltzmann_peers.py
"""

import ctypes
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import harness
import networkx
import torch
import tyro
from dwave.plugins.torch.models.boltzmann_machine import GraphRestrictedBoltzmannMachine
from dwave.plugins.torch.samplers.block_spin_sampler import BlockSampler
from rbms.bernoulli_bernoulli.classes import BBRBM

from pyrodgm.boltzmann import Graph, GraphMachine, gibbs_sweeps, random_states, spins_from_bits


@dataclass(frozen=True)
class Config:
    """Processor time of one sweep of each, and its ratio to the peer's."""

    chains: int = 1000
    """Chains of the two layers."""
    units: int = 200
    """Units of each layer."""
    sparse_units: int = 2000
    """Units of the sparse graph, each with 15 neighbours."""
    sparse_chains: int = 100
    """Chains on it."""
    sweeps: int = 1
    """Sweeps of a call; times are those of one."""
    rounds: int = 100
    """Timed calls of each on two layers; a fifth as many on the sparse graph."""
    threads: int = 1
    """Threads."""


def alternate(title: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int, sweeps: int) -> None:
    times: list[list[float]] = [[], []]
    for k in range(rounds + 3):
        for way, kept in zip((ours, theirs), times, strict=True):
            began = time.process_time()
            way()
            if k >= 3:
                kept.append(1e3 * (time.process_time() - began) / sweeps)
    a, b = (statistics.median(kept) for kept in times)
    quarters = statistics.quantiles([x / y for x, y in zip(*times, strict=True)], n=4)
    spread = f"quartiles of the rounds {quarters[0]:.2f} to {quarters[2]:.2f}"
    print(f"| {title} | {a:.2f} | {b:.2f} | {a / b:.3f} | {spread} |", flush=True)


def two_layers(config: Config) -> None:
    weights = 0.1 * torch.randn(config.units, config.units)
    biases = torch.zeros(config.units), torch.zeros(config.units)
    left, right = random_states(weights, config.chains)
    peer = BBRBM(weights, *biases)
    chains = {"visible": left, "hidden": right, "visible_mag": left, "hidden_mag": right}
    chains["weights"] = torch.ones(config.chains)

    def theirs() -> None:
        now = dict(chains)
        for _ in range(config.sweeps):
            now = peer.sample_visibles(peer.sample_hiddens(now))

    title = f"rbms: {config.chains:,} chains, {config.units} + {config.units} units"
    alternate(title, lambda: gibbs_sweeps(weights, *biases, left, config.sweeps), theirs, config.rounds, config.sweeps)


def on_sparse_graph(config: Config) -> tuple[str, Callable[[], object], Callable[[], object]]:
    """What the case is, a sweep of ours and one of theirs."""
    graph = Graph.from_networkx(networkx.random_regular_graph(15, config.sparse_units, seed=0))
    machine = GraphMachine(graph, 0.3 * torch.randn(len(graph.edges)), torch.zeros(graph.num_units))
    spins, edges = spins_from_bits(machine), [(int(i), int(j)) for i, j in graph.edges.tolist()]
    peer = GraphRestrictedBoltzmannMachine(
        range(graph.num_units),
        edges,
        linear=dict(enumerate((-spins.fields).tolist())),
        quadratic=dict(zip(edges, (-spins.couplings).tolist(), strict=True)),
    )
    colors = graph.colors.tolist()
    sampler = BlockSampler(peer, colors.__getitem__, config.sparse_chains, [1.0] * config.sweeps)
    states = machine.random_states(config.sparse_chains)
    title = (
        f"dwave-pytorch-plugin: {config.sparse_chains:,} chains, {graph.num_units:,} units of 15 neighbours, "
        f"{graph.num_colors} colours"
    )
    return title, lambda: machine.gibbs(states, config.sweeps), sampler.sample


def peak_growth(config: Config, number: int) -> float:
    """MiB by which the peak of a process lies above its memory before, over 20 calls: 0 of ours, 1 of theirs."""
    torch.set_num_threads(config.threads)
    way = on_sparse_graph(config)[1:][number]
    way()
    ctypes.CDLL(None).malloc_trim(0)  # what the construction has left free would hide what a sweep takes
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, on Linux
    before = _kib("VmHWM")
    for _ in range(20):
        way()
    return (_kib("VmHWM") - before) / 1024.0


def _kib(name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    torch.zeros(2**22)  # 16 MiB that are freed: from then on the allocator keeps memory, as in any training run
    print(harness.describe_machine("cpu"))
    print(f"\nSweeps a call: {config.sweeps}\n\n| a sweep | pyrodgm, ms | peer, ms | ratio | |\n|---|---|---|---|---|")
    two_layers(config)
    alternate(*on_sparse_graph(config), config.rounds // 5, config.sweeps)
    growth = []
    for number in (0, 1):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            growth.append(pool.apply(peak_growth, (config, number)))
    print(f"\nGrowth of the peak of memory by 20 calls of the last: {growth[0]:.1f} MiB, peer {growth[1]:.1f} MiB")


if __name__ == "__main__":
    main(tyro.cli(Config))
