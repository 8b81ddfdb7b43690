"""A stick-breaking VAE on digits in float32 and in float64, side by side: how far their bounds differ.

python benchmarks/stick_digits.py

Importance-weighted bounds of sticks whose weights underflow in float32. Both runs begin at the same weights and see the
same images and random numbers, so that their bounds should differ by rounding alone.
"""

import copy
from dataclasses import dataclass
from itertools import product
from typing import get_args

import pyro
import torch
import tyro
from torch import Tensor, nn

from pyrodgm import datasets
from pyrodgm.infer import IWELBO
from pyrodgm.infer.estimators.iwelbo import Gradient
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import Dense, StickWeights, mlp
from pyrodgm.posteriors import StickBreakingPosterior
from pyrodgm.priors import GEMPrior


@dataclass(frozen=True)
class Config:
    """Train in both formats with each gradient at all combinations and print the bounds in nats an image."""

    truncations: tuple[int, ...] = (20, 200)
    """Numbers of sticks."""
    concentrations: tuple[float, ...] = (0.05, 0.3, 20.0)
    """Concentrations of the prior."""
    learning_rates: tuple[float, ...] = (3e-3, 1e-2)
    """Learning rates of Adam."""
    particles: int = 10
    """Samples of the importance-weighted bound."""
    epochs: int = 8
    """Passes over the training images."""
    hidden: int = 100
    """Size of the one hidden layer of encoder and decoder."""
    batch_size: int = 100
    """Images a step."""
    seed: int = 0
    """Seed of weights, batches and draws."""


def make_pair(config: Config, size: int, concentration: float, images: Tensor) -> VAE:
    """The untrained pair of so many sticks, in float32."""
    torch.manual_seed(config.seed)
    pixels = images.shape[1]
    encoder = mlp(pixels, [config.hidden], 2 * size - 2, layer=Dense)
    posterior = StickBreakingPosterior(encoder, concentration=max(0.1, concentration))
    decoder = nn.Sequential(StickWeights(), *mlp(size, [config.hidden], pixels, layer=Dense))
    return VAE(GEMPrior(size, concentration), BernoulliLikelihood(decoder, images.mean(0)), posterior)


def bounds(config: Config, pair: VAE, images: Tensor, gradient: Gradient, learning_rate: float) -> list[float]:
    """The mean bound over the images in each epoch, in nats, in the images' dtype."""
    pair = copy.deepcopy(pair).to(images.dtype)
    elbo = IWELBO(config.particles, gradient=gradient, max_plate_nesting=1)
    adam = torch.optim.Adam(pair.parameters(), lr=learning_rate)
    torch.manual_seed(config.seed)
    found = []
    for _ in range(config.epochs):
        total = 0.0
        for rows in torch.randperm(len(images)).split(config.batch_size):
            adam.zero_grad()
            loss = elbo.differentiable_loss(pair.model, pair.guide, images[rows])
            loss.backward()
            adam.step()
            total -= loss.item()
        found.append(total / len(images))
    return found


def main(config: Config) -> None:
    pyro.enable_validation(False)
    images = datasets.load("digits").train.images.float().round()
    print("K, concentration, learning rate; bounds after the first and the last epoch; over all epochs: how far the")
    print("float32 bound is from the float64 one at most, and how far it falls below its best\n")
    print("| K | concentration | rate | gradient | first | last, float32 | float64 | apart | fall |")
    print("|" + "---|" * 9)
    for size, concentration in product(config.truncations, config.concentrations):
        pair = make_pair(config, size, concentration, images)
        for rate, gradient in product(config.learning_rates, get_args(Gradient)):
            formats = torch.float32, torch.float64
            single, double = (bounds(config, pair, images.to(dtype), gradient, rate) for dtype in formats)
            apart = max(abs(a - b) for a, b in zip(single, double, strict=True))
            fall = max(max(single[: i + 1]) - bound for i, bound in enumerate(single))
            ends = f"{single[0]:.3f} | {single[-1]:.3f} | {double[-1]:.3f}"
            row = f"| {size} | {concentration:g} | {rate:g} | {gradient} | {ends} | {apart:.4f} | {fall:.3f} |"
            print(row, flush=True)


if __name__ == "__main__":
    main(tyro.cli(Config))
