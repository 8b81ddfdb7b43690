"""A training step of discrete variational autoencoders, split into the sampler of the machine and the networks.

python benchmarks/dvae_step.py

Beside the step of another checkout, two processes taking turns:

git worktree add /tmp/before COMMIT
python benchmarks/dvae_step.py --structs 1-layer-nonlin --ks 1 --other /tmp/before
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import harness
import torch
import tyro

from pyrodgm.distributions import bits_divergence
from pyrodgm.infer import ELBO, IWELBO, TrainStep, decay_groups
from pyrodgm.zoo.pairs import Method, discrete_vae

WORKER = """
import sys, time
import dvae_step, torch
torch.set_num_threads(int(sys.argv[3]))
step = dvae_step.case(dvae_step.Config(), sys.argv[1], int(sys.argv[2])).whole
for _ in sys.stdin:
    began = time.process_time()
    step()
    print(time.process_time() - began, flush=True)
"""


@dataclass(frozen=True)
class Config:
    """Time training steps on batches of 100 images of 784 pixels."""

    baseline: Method = "dvaes_power"
    """The method."""
    structs: tuple[str, ...] = ("1-layer-nonlin", "2-layer-nonlin")
    """The structures."""
    ks: tuple[int, ...] = (1, 5, 25)
    """Numbers of samples of the bound."""
    sampler: str = "pcd"
    """pcd or pa."""
    chains: int = 1000
    """Chains, or members of the population."""
    sweeps: int = 40
    """Gibbs sweeps, or temperatures, a step."""
    rounds: int = 30
    """Timed calls of each way."""
    device: str = "cpu"
    """Where to run."""
    other: Path | None = None
    """Another checkout: time whole steps of both, each as its own ``dvae_step.py`` makes them with the defaults."""
    json: str | None = None
    """File for the numbers."""


def case(config: Config, struct: str, k: int) -> SimpleNamespace:
    """The whole step and its sampler alone."""
    torch.manual_seed(0)
    machine = {"sampler": config.sampler, "num_chains": config.chains, "num_sweeps": config.sweeps}
    pair = discrete_vae(config.baseline, struct, torch.full((784,), 0.13), 30.0, **machine).to(config.device)
    exact = ELBO(num_particles=k, vectorize_particles=True, max_plate_nesting=1, divergence=bits_divergence)
    objective = exact if config.baseline.startswith(("dvae_", "dvaepp")) else IWELBO(k)
    capturable = config.device.startswith("cuda")
    adam = torch.optim.Adam(decay_groups(pair, 1e-4), lr=3e-3, eps=1e-3, fused=True, capturable=capturable)
    step = TrainStep(pair, objective, adam, compile="traced")
    x = (torch.rand(100, 784, device=config.device) < 0.13).float()
    sampler = torch.no_grad()(pair.prior.discrete)
    return SimpleNamespace(whole=lambda: step(x), sampler=sampler)


def median(way: Callable[[], object], config: Config) -> float:
    """Median milliseconds of a call: of the processor on a CPU, whatever else the machine does meanwhile."""
    clock = time.process_time if config.device == "cpu" else time.perf_counter
    times = []
    for _ in range(config.rounds):
        harness.synchronize(config.device)
        began = clock()
        way()
        harness.synchronize(config.device)
        times.append(1e3 * (clock() - began))
    return statistics.median(times)


def beside(config: Config, other: Path) -> None:
    """Print the milliseconds of both checkouts and their ratio, one row a structure and number of samples."""
    print("| structure | K | here ms | there ms | here / there | quartiles |\n|---|---|---|---|---|---|")
    for struct in config.structs:
        for k in config.ks:
            command = ["-c", WORKER, struct, str(k), str(torch.get_num_threads())]
            trees = (Path(__file__).parents[1], other)
            ours, theirs = (harness.Worker(command, [tree, tree / "benchmarks"]) for tree in trees)
            with ours, theirs:
                turns = [(ours.turn(), theirs.turn()) for _ in range(config.rounds + 3)][3:]
            here, there = (1e3 * statistics.median(column) for column in zip(*turns, strict=True))
            low, middle, high = statistics.quantiles([a / b for a, b in turns], n=4)
            print(f"| {struct} | {k} | {here:.1f} | {there:.1f} | {middle:.3f} | {low:.3f} - {high:.3f} |", flush=True)


def main(config: Config) -> None:
    """Print one row a structure and number of samples."""
    print(harness.describe_machine(config.device))
    if config.other is not None:
        return beside(config, config.other)
    print(f"{config.baseline}, {config.sampler}: {config.chains} chains, {config.sweeps} sweeps\n")
    print("| structure | K | step ms | sampler ms | networks ms |\n|---|---|---|---|---|")
    results = {}
    for struct in config.structs:
        for k in config.ks:
            ways = case(config, struct, k)
            for way in (ways.whole, ways.sampler):
                harness.first_call(way, config.device)
            step, sampler = (median(way, config) for way in (ways.whole, ways.sampler))
            results[f"{struct} K={k}"] = {"step_ms": step, "sampler_ms": sampler}
            print(f"| {struct} | {k} | {step:.1f} | {sampler:.1f} | {step - sampler:.1f} |", flush=True)
    harness.write_json(config.json, results)


if __name__ == "__main__":
    main(tyro.cli(Config))
