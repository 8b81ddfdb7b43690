"""Check every estimator on random programs with exact evidence, and count what they had.

python benchmarks/random_programs.py --count 2000

Prints the counts after each chunk; ``--first`` goes on from there after a break.
"""

import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import tyro

from pyrodgm.testing.check_estimators import check_estimators
from pyrodgm.testing.check_gradients import check_gradients, has_gradients
from pyrodgm.testing.check_mixtures import check_mixtures
from pyrodgm.testing.features import Features
from pyrodgm.testing.mixture_pair import MixtureFeatures, random_mixtures
from pyrodgm.testing.programs import random_programs


@dataclass(frozen=True)
class Config:
    """How many programs.

    Attributes:
        count: Number of programs.
        first: Number of the first one to check.
        chunk: Programs between two reports.
        seed: Another seed chooses other programs.
        thorough: Every how many programs all modes and gradients are checked, instead of some; 0 for never.
        compiled: Every how many programs the log-likelihood is compiled too; 0 for never.
        gradients: Every how many programs ``"stl"`` and ``"dreg"`` are averaged over draws, where that can be said.
        mixtures: Every how many programs a pair with a mixture posterior is checked too; 0 for never.
    """

    count: int = 2000
    first: int = 0
    chunk: int = 200
    seed: int = 1
    thorough: int = 20
    compiled: int = 250
    gradients: int = 2
    mixtures: int = 4


def run(config: Config) -> int:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    start, counts, failures = time.perf_counter(), Counter[str](), 0
    mixtures = random_mixtures(config.count, config.seed)
    for i, (features, mixture) in enumerate(zip(random_programs(config.count, config.seed), mixtures, strict=True)):
        if i < config.first:
            continue
        checks: list[tuple[str, Features | MixtureFeatures, Callable[[], None]]] = []
        thorough = every(config.thorough, i)
        checks.append(("", features, partial(check_estimators, features, thorough, every(config.compiled, i))))
        if every(config.gradients, i) and has_gradients(features):
            checks.append(("gradients: ", features, partial(check_gradients, features)))
        if every(config.mixtures, i):
            checks.append(("mixtures: ", mixture, partial(check_mixtures, mixture, thorough)))
        for kind, of, check in checks:
            counts.update([kind + "programs", *(kind + name for name in of.names())])
            try:
                check()
            except Exception as error:  # every one is counted and shown
                failures += 1
                print(f"{kind}{of}\n    {type(error).__name__}: {error}")
        if every(config.chunk, i + 1) or i + 1 == config.count:
            seconds = time.perf_counter() - start
            print(f"programs {config.first} to {i}: {failures} failures, {seconds:.0f} s")
            print(*(f"{count:6d}  {name}" for name, count in sorted(counts.items())), sep="\n", flush=True)
    return failures


def every(count: int, number: int) -> bool:
    """Whether it is the turn of what is done every ``count`` times."""
    return bool(count) and number % count == 0


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*torch.jit.script", DeprecationWarning)  # of PyTorch itself
        warnings.filterwarnings("ignore", ".*torch._prims_common.check", FutureWarning)  # likewise, in its compiler
        raise SystemExit(1 if run(tyro.cli(Config, description=__doc__)) else 0)
