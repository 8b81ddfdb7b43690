"""Peak memory of likelihoods, training, sampling and repeated evaluations, each in a process of its own (Linux).

    python benchmarks/memory.py
    git worktree add /tmp/before COMMIT
    python benchmarks/memory.py --cases "exemplar step" "pixel_hvae step" --other /tmp/before

What is measured is how far the resident memory of the process grows above where it was before the call, with the data
loaded and all modules imported. MNIST is read from PYRODGM_DATA.
"""

import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import harness
import torch
import tyro

HERE = Path(__file__).parents[1]
Case = Literal[
    "likelihood of a VAE",
    "likelihood of a VAE, guide",
    "likelihood of a PixelCNN",
    "fit on MNIST",
    "exemplar step",
    "pixel_hvae step",
    "samples of pixel_hvae",
    "200 evaluations",
]
MAX_BYTES = 2**27
# Growth as a multiple of what is promised or was before; of 200 evaluations in MB.
MOST = {"likelihood": 1.3, "step": 0.7, "evaluations": 4.0}


@dataclass(frozen=True)
class Config:
    """Measure the growth of memory, and with another checkout its ratio."""

    cases: tuple[Case, ...] = get_args(Case)
    """Log-likelihoods with 50,000 samples of each of 10 images (a PixelCNN: 200 of 10); an epoch of 100 steps of fit;
    three traced steps of the exemplar VAE on 60,000 images, and of the two-level VAE with a PixelCNN as decoder;
    100 draws from that; the growth over 200 evaluations of a pair, after 100 that fill what is kept."""
    other: Path | None = None
    """Another checkout, whose processes take turns with those of this one."""
    rounds: int = 3
    """Processes of each."""
    threads: int = 1
    """Threads of each process."""
    json: str | None = None
    """File for the numbers."""


def held(field: str = "VmRSS") -> int:
    """Bytes of memory of this process: resident, or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def settle() -> int:
    """Bytes that are resident once what is free has been given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return held()


def growth(run: Callable[[], object]) -> int:
    """How far the peak of a call lies above what was held before."""
    before = settle()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    run()
    return held("VmHWM") - before


def images(count: int) -> torch.Tensor:
    """MNIST, 0 and 1."""
    from pyrodgm import datasets

    data = datasets.load("mnist")
    return torch.cat([data.train.images, data.valid.images])[:count].round()


def vae(prior: Any = None) -> Any:
    from pyrodgm.likelihoods import BernoulliLikelihood
    from pyrodgm.models import VAE
    from pyrodgm.nn import mlp
    from pyrodgm.posteriors import GaussianPosterior
    from pyrodgm.priors import StandardNormal

    posterior = GaussianPosterior(mlp(784, [300, 300], 80))
    own = StandardNormal(40) if prior is None else prior(posterior)
    return VAE(own, BernoulliLikelihood(mlp(40, [300, 300], 784)), posterior)


def pixel_hvae() -> Any:
    try:
        from pyrodgm.zoo.pairs import pixel_hvae as make
    except ImportError:  # where the pairs of published systems used to be
        from pyrodgm.models import pixel_hvae as make
    from pyrodgm.priors import StandardNormal

    return make(lambda posterior: StandardNormal(40))


def likelihood(pair: Any, samples: int, **options: Any) -> int:
    from pyrodgm.infer import log_likelihood

    x = images(11)
    log_likelihood(pair, x[10:], 60, progress=False, **options)  # imports what it needs
    return growth(lambda: log_likelihood(pair, x[:10], samples, max_bytes=MAX_BYTES, progress=False, **options))


def steps(pair: Any, objective: Any = None, **options: Any) -> int:
    """Growth over three steps on 100 images, tracing included; the data are held by the caller."""
    from pyrodgm.infer import ELBO, TrainStep

    optimizer = torch.optim.Adam(pair.parameters(), lr=1e-3, fused=True)
    step = TrainStep(pair, ELBO(), optimizer, compile="traced", **options.pop("step", {}))
    rows = [options.pop("rows")] * 3
    return growth(lambda: [step(row) for row in rows])


def measure(case: Case) -> int:
    """Bytes of growth with the library that this process imports."""
    if case.startswith("likelihood of a VAE"):
        return likelihood(vae(), 50_000, **({"proposal": "guide"} if "guide" in case else {}))
    if case == "likelihood of a PixelCNN":
        return likelihood(pixel_hvae(), 200)
    if case == "fit on MNIST":
        return fit_growth()
    if case == "exemplar step":
        return exemplar_growth()
    if case == "pixel_hvae step":
        return steps(pixel_hvae(), rows=images(100))
    if case == "samples of pixel_hvae":
        from pyrodgm.infer import sample

        pair = pixel_hvae()
        sample(pair, 1)
        return growth(lambda: sample(pair, 100))
    return evaluations_growth()


def fit_growth() -> int:
    from pyrodgm import datasets
    from pyrodgm.infer import FitSettings, fit

    data, pair, settings = datasets.load("mnist"), vae(), FitSettings(max_steps=100, progress=False)
    return growth(lambda: fit(pair, data, epochs=1, settings=settings))


def exemplar_growth() -> int:
    from pyrodgm.priors import ExemplarPrior, training_rows

    x = images(60_000)
    pair = vae(lambda posterior: ExemplarPrior(posterior, x))
    known = {"prepare": lambda rows: (x[rows],), "context": lambda rows: training_rows(rows, len(x))}
    return steps(pair, rows=torch.arange(100), step=known)


def evaluations_growth() -> int:
    from pyrodgm.infer import log_likelihood

    pair, x = vae(), images(10)
    marks = []
    for number in range(1, 301):
        log_likelihood(pair, x, 100, proposal="guide", progress=False)
        if number in (100, 300):
            marks.append(settle())
    return marks[1] - marks[0]


def ask(tree: Path, case: Case, config: Config) -> int:
    """Bytes that a process of its own measures with the library of a checkout."""
    paths = os.pathsep.join([str(tree.resolve()), str(HERE / "benchmarks")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(config.threads)}
    command = [sys.executable, __file__, "--serve", case]
    answer = subprocess.run(command, env=environment, cwd=tree, check=True, text=True, stdout=subprocess.PIPE)
    return int(json.loads(answer.stdout.splitlines()[-1]))


def limit(case: Case) -> tuple[float, float]:
    """What a case's growth is divided by, in bytes, and the most that may come of it; infinite where nothing is set."""
    if case.startswith("likelihood"):
        return MAX_BYTES, MOST["likelihood"]
    return 2**20, MOST["evaluations"] if case == "200 evaluations" else float("inf")


def main(config: Config) -> None:
    print(harness.describe_machine("cpu"))
    trees = [HERE] if config.other is None else [HERE, config.other]
    print("\n| case | MB here | MB there | ratio | at most |\n|---|---|---|---|---|")
    results = {}
    for case in config.cases:
        found = {str(tree): [0] * 0 for tree in trees}
        for _ in range(config.rounds):
            for tree in trees:
                found[str(tree)].append(ask(tree, case, config))
        medians = [statistics.median(values) for values in found.values()]
        unit, most = limit(case)
        if len(medians) > 1:
            unit, most = medians[1], MOST["step"] if case.endswith("step") else float("inf")
        there = f"{medians[1] / 2**20:.1f}" if len(medians) > 1 else ""
        ratio = f"{medians[0] / unit:.2f}" if unit != 2**20 else ""
        bound = "" if most == float("inf") else f"{most:g}"
        print(f"| {case} | {medians[0] / 2**20:.1f} | {there} | {ratio} | {bound} |", flush=True)
        results[case] = found
    harness.write_json(config.json, results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        chosen: Any = sys.argv[2]
        print(json.dumps(measure(chosen)))
    else:
        main(tyro.cli(Config))
