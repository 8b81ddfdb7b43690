"""Training steps of every estimator in two checkouts of the library, taking turns: this one, and another commit's.

git worktree add /tmp/before COMMIT
python benchmarks/compare_checkouts.py --other /tmp/before
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import harness
import torch
import tyro

Case = Literal["elbo", "vamp", "iw5", "iw5_stl", "iw5_dreg", "stratified", "stratified_iw", "labels", "mixture_density"]
CASES: tuple[Case, ...] = Case.__args__  # type: ignore[attr-defined]
Mode = Literal["eager", "traced"]


@dataclass(frozen=True)
class Config:
    """Ratios below one mean that this checkout is the faster.

    Attributes:
        other: Root of the other checkout.
        cases: Estimators.
        modes: How the steps run.
        hidden: Units of each of the two hidden layers; the smaller, the more a step is Python.
        batch_size: Data per step.
        rounds: Turns of each case and mode.
        steps: Steps per turn.
        threads: Threads of PyTorch in each process.
        json: File for the numbers.
    """

    other: Path
    cases: tuple[Case, ...] = CASES
    modes: tuple[Mode, ...] = ("eager", "traced")
    hidden: int = 300
    batch_size: int = 100
    rounds: int = 30
    steps: int = 3
    threads: int = 1
    json: str | None = None


def make_step(case: Case, mode: Mode, hidden: int, batch_size: int) -> Callable[[], object]:
    """A training step of one estimator with the library that this process imports."""
    from pyrodgm import infer
    from pyrodgm.likelihoods import BernoulliLikelihood
    from pyrodgm.models import VAE, SemiSupervisedVAE
    from pyrodgm.nn import joint_mlp, mlp
    from pyrodgm.posteriors import CategoricalPosterior, GaussianMixturePosterior, GaussianPosterior
    from pyrodgm.priors import StandardNormal, VampPrior

    size, latent, widths = 784, 40, [hidden, hidden]
    x = torch.rand(batch_size, size).round()
    likelihood = BernoulliLikelihood(mlp(latent, widths, size))
    posterior = GaussianPosterior(mlp(size, widths, 2 * latent))
    batch: tuple[torch.Tensor, ...] = (x,)
    pair: torch.nn.Module = VAE(StandardNormal(latent), likelihood, posterior)
    objective = infer.ELBO()
    if case == "vamp":
        pair = VAE(VampPrior(posterior, torch.rand(100, size)), likelihood, posterior)
    elif case.startswith("iw5"):
        objective = infer.IWELBO(5, gradient=case[4:] or "reparam")
    elif case.startswith("stratified"):
        mixture = GaussianMixturePosterior(mlp(size, widths, 3 * (1 + 2 * latent)), 3)
        pair = VAE(StandardNormal(latent), likelihood, mixture)
        objective = infer.StratifiedELBO() if case == "stratified" else infer.StratifiedIWELBO(2)
    elif case == "labels":
        pair = SemiSupervisedVAE(
            StandardNormal(latent),
            BernoulliLikelihood(joint_mlp([latent, 10], widths[:1], size)),
            CategoricalPosterior(mlp(size, widths, 10)),
            GaussianPosterior(joint_mlp([size, 10], widths[:1], 2 * latent)),
            num_classes=10,
        )
        batch = (x, torch.arange(batch_size // 4) % 10)
        objective = infer.SemiSupervisedELBO()
    elif case == "mixture_density":
        try:
            from pyrodgm.zoo.pairs import dense_dlgmm
        except ImportError:
            from pyrodgm.models import dense_dlgmm
        pair, objective = dense_dlgmm(size, hidden=(hidden,)), infer.MixtureDensityELBO()
    optimizer = torch.optim.Adam(pair.parameters(), lr=1e-3, fused=True)
    step = infer.TrainStep(pair, objective, optimizer, compile=mode)
    return lambda: step(*batch)


def serve(hidden: int, batch_size: int, threads: int) -> None:
    """Answer each line ``case mode steps`` with the processor seconds per step; a step's first call is not timed."""
    torch.set_num_threads(threads)
    known: dict[tuple[str, str], Callable[[], object]] = {}
    for line in sys.stdin:
        case, mode, count = line.split()
        if (case, mode) not in known:
            torch.manual_seed(0)
            known = {(case, mode): make_step(case, mode, hidden, batch_size)}  # type: ignore[arg-type]
            for _ in range(3):
                known[case, mode]()
        began = time.process_time()
        for _ in range(int(count)):
            known[case, mode]()
        print((time.process_time() - began) / int(count), flush=True)


class Worker:
    """A process that runs steps with the library of one checkout."""

    def __init__(self, root: Path, config: Config) -> None:
        command = [
            sys.executable,
            "-W",
            "ignore",
            __file__,
            "--serve",
            config.hidden,
            config.batch_size,
            config.threads,
        ]
        environment = {**os.environ, "PYTHONPATH": str(root.resolve()), "OMP_NUM_THREADS": str(config.threads)}
        self.process = subprocess.Popen(
            [str(part) for part in command], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def seconds(self, case: Case, mode: Mode, steps: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(case, mode, steps, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def main(config: Config) -> None:
    roots = {"this": Path(__file__).parents[1], "other": config.other}
    workers = {name: Worker(root, config) for name, root in roots.items()}
    torch.set_num_threads(config.threads)
    print(harness.describe_machine("cpu"))
    print("| estimator | mode | this ms | other ms | ratio | quartiles |\n|---|---|---|---|---|---|")
    results = {}
    for case in config.cases:
        for mode in config.modes:
            times: dict[str, list[float]] = {name: [] for name in workers}
            for turn in range(config.rounds):
                for name in list(workers)[:: 1 if turn % 2 else -1]:
                    times[name].append(workers[name].seconds(case, mode, config.steps))
            ratios = [a / b for a, b in zip(times["this"], times["other"], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            this, other = (1e3 * statistics.median(times[name]) for name in workers)
            results[f"{case} {mode}"] = {"this_ms": this, "other_ms": other, "ratio": middle, "quartiles": [low, high]}
            print(f"| {case} | {mode} | {this:.2f} | {other:.2f} | {middle:.3f} | {low:.2f} - {high:.2f} |", flush=True)
    for worker in workers.values():
        worker.process.terminate()
    harness.write_json(config.json, results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(*map(int, sys.argv[2:5]))
    else:
        main(tyro.cli(Config, description=__doc__))
