"""Compare evaluated runs image by image with the first of them.

    python examples/compare.py runs/static_mnist-standard-14 runs/static_mnist-vampprior-14

Each run must have been evaluated on the same test images, by the example that trained it or by `evaluate.py`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pyrodgm import experiment
from pyrodgm.infer import DamagedFileError


@dataclass(frozen=True)
class Config:
    """Print log-likelihoods of runs and their differences to the first, with standard errors."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders."""


def main(config: Config) -> None:
    """Print the table."""
    try:
        print(experiment.comparison_table(experiment.compare(config.runs)))
    except (FileNotFoundError, DamagedFileError, ValueError) as error:
        raise SystemExit(f"these runs cannot be compared: {error}") from error


if __name__ == "__main__":
    main(tyro.cli(Config))
