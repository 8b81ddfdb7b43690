"""Training steps of this checkout against those of another one, two processes taking turns.

git worktree add /tmp/before COMMIT
python benchmarks/against_worktree.py --other /tmp/before --cases vae iw5 iw5_dreg labels --modes traced eager
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import harness
import tyro
from estimator_steps import CASES

HERE = Path(__file__).parents[1]
WORKER = """
import sys, time
import estimator_steps, pyro, torch, train_step
from pyrodgm.infer import ELBO, IWELBO, TrainStep
case, mode, calls, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
clock = getattr(time, sys.argv[5])
torch.set_num_threads(threads)
pyro.set_rng_seed(0)
if case in estimator_steps.CASES:
    step = estimator_steps.make_step(case, mode)
else:
    config = train_step.Config()
    pair = train_step.make_pair(config, case, plain=False)
    x = torch.rand(config.batch_size, 784).round()
    optimizer = torch.optim.Adam(pair.parameters(), lr=1e-3, fused=True)
    train = TrainStep(pair, IWELBO(int(case[2:])) if case.startswith("iw") else ELBO(), optimizer, compile=mode)
    step = lambda: train(x)
for number, _ in enumerate(sys.stdin):
    began = clock()
    for _ in range(calls if number else 1):
        step()
    print((clock() - began) / (calls if number else 1), flush=True)
"""


@dataclass(frozen=True)
class Config:
    """Time steps of ``train_step.py``; ratios below one mean that this checkout is the faster."""

    other: Path
    """The other checkout."""
    cases: tuple[str, ...] = ("vae", "vamp", "sticks", "iw5", "iw50", *CASES)
    """Cases of ``train_step.py``, each built by its own checkout, and of ``estimator_steps.py``."""
    modes: tuple[Literal["eager", "traced", "compiled"], ...] = ("traced", "eager")
    """How the steps run."""
    calls: int = 5
    """Steps a turn."""
    rounds: int = 30
    """Turns of each checkout."""
    starts: int = 3
    """Pairs of fresh processes: memory lies elsewhere in each."""
    threads: int = 1
    """Threads of each process; the two never compute at once."""
    clock: Literal["perf_counter", "process_time"] = "perf_counter"
    """What is timed: ``process_time`` is that of the processor, which other programs on the machine disturb less."""


def worker(tree: Path, case: str, mode: str, config: Config) -> harness.Worker:
    """A process of one checkout; its first turn is its first call."""
    command = ["-c", WORKER, case, mode, str(config.calls), str(config.threads), config.clock]
    return harness.Worker(command, [tree, tree / "benchmarks", HERE / "benchmarks"])


def main(config: Config) -> None:
    print(harness.describe_machine("cpu"))
    print(
        "| case | mode | here ms | there ms | here / there | quartiles | first call, here / there |\n"
        + "|---" * 7
        + "|"
    )
    for case in config.cases:
        for mode in config.modes:
            here, there, first = [], [], []
            for _ in range(config.starts):
                with worker(HERE, case, mode, config) as ours, worker(config.other, case, mode, config) as theirs:
                    first.append(ours.turn() / theirs.turn())
                    for number in range(config.rounds + 2):
                        turns = (ours.turn(), theirs.turn())
                        if number >= 2:  # the first turns warm up
                            here.append(turns[0])
                            there.append(turns[1])
            ratios = [a / b for a, b in zip(here, there, strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            times = f"{1e3 * statistics.median(here):.2f} | {1e3 * statistics.median(there):.2f}"
            ranges = f"{low:.2f} - {high:.2f} | {statistics.median(first):.2f}"
            print(f"| {case} | {mode} | {times} | {middle:.3f} | {ranges} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Config))
