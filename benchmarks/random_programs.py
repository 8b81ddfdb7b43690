"""Check every estimator on random programs with exact evidence, and count what they had.

python benchmarks/random_programs.py --count 2000
"""

import time
import warnings
from collections import Counter
from dataclasses import dataclass

import torch
import tyro

from pyrodgm.testing.check_estimators import check_estimators
from pyrodgm.testing.programs import random_programs


@dataclass(frozen=True)
class Config:
    """How many programs.

    Attributes:
        count: Number of programs.
        seed: Another seed chooses other programs.
        thorough: Every how many programs all modes and gradients are checked, instead of some; 0 for never.
    """

    count: int = 2000
    seed: int = 1
    thorough: int = 20


def run(config: Config) -> int:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    start, counts, failures = time.perf_counter(), Counter[str](), 0
    for i, features in enumerate(random_programs(config.count, config.seed)):
        counts.update(features.names())
        try:
            check_estimators(features, thorough=bool(config.thorough) and i % config.thorough == 0)
        except Exception as error:  # every one is counted and shown
            failures += 1
            print(f"{features}\n    {type(error).__name__}: {error}")
    print(f"{config.count} programs, {failures} failures, {time.perf_counter() - start:.0f} s")
    for name, count in sorted(counts.items()):
        print(f"{count:6d}  {name}")
    return failures


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raise SystemExit(1 if run(tyro.cli(Config, description=__doc__)) else 0)
