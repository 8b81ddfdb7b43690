"""Models of sticks, and NADE, in this checkout against those of another one, two processes taking turns.

git worktree add /tmp/before COMMIT
python benchmarks/stick_speed.py --other /tmp/before
"""

import inspect
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import harness
import torch
import tyro
from torch import nn

Case = Literal["step", "iw5 step", "likelihood", "dpvae step", "nade step", "stick-breaking nade step"]
Clock = Literal["perf_counter", "process_time"]


@dataclass(frozen=True)
class Config:
    """Time in both; ratios below one mean that this checkout is the faster."""

    other: Path
    """The other checkout."""
    cases: tuple[Case, ...] = get_args(Case)
    """A training step of the 784-500-50 VAE of Kumaraswamy sticks under its bound and under that of five samples;
    the log-likelihood of ten images under it with 2,000 samples; a step of the Dirichlet-process VAE; of NADE of 200
    units, and of its stick-breaking form of two steps. Steps are traced and take 100 images."""
    rounds: int = 30
    """Turns of each checkout."""
    starts: int = 2
    """Pairs of fresh processes: memory lies elsewhere in each."""
    threads: int = 1
    """Threads of each process; the two never compute at once."""
    clock: Clock = "perf_counter"
    """What is timed: ``process_time`` is that of the processor, which other programs on the machine disturb less."""


def make_way(case: Case) -> Callable[[], object]:
    """What is timed, with the library that this process imports."""
    from pyrodgm import infer
    from pyrodgm import nn as blocks
    from pyrodgm.likelihoods import BernoulliLikelihood
    from pyrodgm.models import VAE
    from pyrodgm.posteriors import StickBreakingPosterior
    from pyrodgm.priors import GEMPrior

    x = torch.rand(100, 784).round()
    if case == "dpvae step":
        try:
            from pyrodgm.zoo.pairs import dense_dpvae
        except ImportError:  # where the pairs of published systems used to be
            from pyrodgm.models import dense_dpvae
        pair, objective = dense_dpvae(784, 17), infer.MixtureDensityELBO()
    elif case.endswith("nade step"):
        from pyrodgm.models import NADE, StickBreakingNADE

        pair = NADE(784, 200) if case == "nade step" else StickBreakingNADE(784, 200, max_steps=2)
        objective = infer.ELBO()
    else:
        decoder = blocks.mlp(50, [500], 784, layer=blocks.Dense)
        if hasattr(blocks, "StickWeights"):
            decoder = nn.Sequential(blocks.StickWeights(), *decoder)
        encoder = blocks.mlp(784, [500], 2 * 49, layer=blocks.Dense)
        posterior = StickBreakingPosterior(encoder, "kumaraswamy", 5.0)
        pair = VAE(GEMPrior(50, 5.0), BernoulliLikelihood(decoder), posterior)
        objective = infer.IWELBO(5) if case == "iw5 step" else infer.ELBO()
    if case == "likelihood":
        known = inspect.signature(infer.log_likelihood).parameters
        guide: dict[str, Any] = {"proposal": "guide"} if "proposal" in known else {}
        return lambda: infer.log_likelihood(pair, x[:10], 2000, progress=False, **guide)
    step = infer.TrainStep(pair, objective, torch.optim.Adam(pair.parameters(), fused=True), compile="traced")
    return lambda: step(x)


def serve(case: Case, threads: int, clock: Clock) -> None:
    """Answer each line with the seconds of a turn; the first turn warms up."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    way, calls, now = make_way(case), 1 if case == "likelihood" else 4, getattr(time, clock)
    for _ in sys.stdin:
        began = now()
        for _ in range(calls):
            way()
        print((now() - began) / calls, flush=True)


def worker(root: Path, case: Case, config: Config) -> harness.Worker:
    """A process with the library of one checkout."""
    flags = ["--serve", case, str(config.threads), config.clock]
    return harness.Worker(["-W", "ignore", str(Path(__file__).resolve()), *flags], [root])


def main(config: Config) -> None:
    print(harness.describe_machine("cpu"))
    print("| case | here ms | there ms | here / there | quartiles |\n|---|---|---|---|---|")
    for case in config.cases:
        pairs = []
        for _ in range(config.starts):
            roots = Path(__file__).parents[1], config.other
            with worker(roots[0], case, config) as ours, worker(roots[1], case, config) as theirs:
                pairs += [(ours.turn(), theirs.turn()) for _ in range(config.rounds + 2)][2:]
        here, there = (1e3 * statistics.median(times) for times in zip(*pairs, strict=True))
        low, middle, high = statistics.quantiles((a / b for a, b in pairs), n=4)
        print(f"| {case} | {here:.2f} | {there:.2f} | {middle:.3f} | {low:.2f} - {high:.2f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])  # type: ignore[arg-type]
    else:
        main(tyro.cli(Config))
