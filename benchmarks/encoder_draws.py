"""What draws of the encoder make of log p(x), beside the refined proposal, on the models of finished runs.

python benchmarks/encoder_draws.py runs/digits-hvae-standard-14 runs/digits-hvae-vampprior-14
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import harness
import torch
import tyro

from pyrodgm.datasets import evenly_spaced
from pyrodgm.experiment import evaluated_pair, load_pair, read_run, rebuild
from pyrodgm.infer import log_likelihood
from pyrodgm.zoo import SYSTEMS


@dataclass(frozen=True)
class Config:
    """Evaluate runs twice; rows in the order of the runs, gains over the first."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, of one data set."""
    num_samples: int = 5000
    """Draws of the encoder an image; the refined proposal takes its default."""
    num_images: int | None = None
    """Test images, evenly spread; None: all."""
    seed: int = 0
    """Seed of the draws."""


def main(config: Config) -> None:
    print(harness.describe_machine("cpu"))
    print("| run | encoder | k-hat > 0.7 | refined | flagged | difference | gain by the encoder | gain, refined |")
    print("|---|---|---|---|---|---|---|---|")
    first = None
    for path in config.runs:
        run = read_run(path)
        _, pair, data = rebuild(SYSTEMS[run.example], run)
        load_pair(run, pair)
        rows = evenly_spaced(len(data.test), len(data.test) if config.num_images is None else config.num_images)
        pair, x = evaluated_pair(pair), data.test.images[rows]
        drawn = log_likelihood(pair, x, config.num_samples, proposal="guide", seed=config.seed, progress=False)
        refined = log_likelihood(pair, x, seed=config.seed, progress=False)
        first = first or (drawn.values, refined.values)
        gains = [value - base for value, base in zip((drawn.values, refined.values), first, strict=True)]
        print(
            f"| {path.name} | {_mean(drawn.values)} | {100 * float((drawn.k_hat > 0.7).double().mean()):.0f} % | "
            f"{_mean(refined.values)} | {100 * refined.untrusted_share:.0f} % | "
            f"{_mean(drawn.values - refined.values)} | {_mean(gains[0])} | {_mean(gains[1])} |",
            flush=True,
        )


def _mean(values: torch.Tensor) -> str:
    error = statistics.stdev(values.tolist()) / len(values) ** 0.5
    return f"{float(values.mean()):.2f} ± {error:.2f}"


if __name__ == "__main__":
    main(tyro.cli(Config))
