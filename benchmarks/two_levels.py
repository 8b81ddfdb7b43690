"""Training steps of the two-level VAEs with the published sizes, on random binary images of 28 x 28 pixels.

python benchmarks/two_levels.py
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import tyro

from pyrodgm.infer import ELBO, AdamNormGrad, TrainStep
from pyrodgm.models import HVAE
from pyrodgm.priors import ExemplarPrior, MixtureOfGaussians, StandardNormal, VampPrior, training_rows
from pyrodgm.zoo.pairs import conv_hvae, dense_hvae, pixel_hvae


@dataclass(frozen=True)
class Config:
    """Median seconds of processor time of a traced step, which other work on the machine disturbs least."""

    images: int = 50_000
    """Training images; an exemplar prior has them all."""
    components: int = 500
    """Components of the mixture, pseudo-inputs of the VampPrior."""
    batch_size: int = 100
    """Images a step."""
    rounds: int = 10
    """Timed steps; of the convolutional models a third of them."""


def main(config: Config) -> None:
    """Time each pair and print a line."""
    images = torch.bernoulli(torch.full((config.images, 784), 0.13))
    mean = images.mean(0)
    pairs: dict[str, Callable[[], HVAE]] = {
        "dense_hvae, standard normal": lambda: dense_hvae(lambda q: StandardNormal(40)),
        "dense_hvae, mixture": lambda: dense_hvae(lambda q: MixtureOfGaussians(40, config.components)),
        "dense_hvae, VampPrior": lambda: dense_hvae(lambda q: VampPrior.around_mean(q, config.components, mean)),
        "dense_hvae, exemplar, 10 neighbours": lambda: dense_hvae(lambda q: ExemplarPrior(q, images)),
        "conv_hvae, standard normal": lambda: conv_hvae(lambda q: StandardNormal(40)),
        "pixel_hvae, standard normal": lambda: pixel_hvae(lambda q: StandardNormal(40)),
    }
    for name, build in pairs.items():
        rounds = config.rounds if name.startswith("dense") else max(1, config.rounds // 3)
        print(f"{name}: {1000 * time_step(build(), images, config.batch_size, rounds):.0f} ms", flush=True)


def time_step(pair: HVAE, images: torch.Tensor, batch_size: int, rounds: int) -> float:
    """Median processor time of a step, in seconds."""
    step = TrainStep(
        pair,
        ELBO(),
        AdamNormGrad(pair.parameters(), lr=5e-4, fused=True),
        compile="traced",
        prepare=lambda rows: (images[rows],),
        context=partial(training_rows, total=len(images)),
    )
    step(torch.arange(batch_size))
    seconds = []
    for _ in range(rounds):
        rows = torch.randperm(len(images))[:batch_size]
        began = time.process_time()
        step(rows)
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    main(tyro.cli(Config))
