"""A stick-breaking VAE on digits in float32 and in float64, side by side: its bound after each epoch.

python benchmarks/stick_digits.py

Importance-weighted bounds of sticks whose weights underflow in float32. Both runs begin at the same weights and see the
same images and random numbers, so that their bounds should differ by rounding alone.
"""

import copy
from dataclasses import dataclass
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
    """Train in both formats with each gradient and print the bounds in nats an image."""

    truncation: int = 20
    """Number of sticks."""
    concentration: float = 0.3
    """Concentration of the prior."""
    particles: int = 10
    """Samples of the importance-weighted bound."""
    learning_rate: float = 3e-3
    """Learning rate of Adam."""
    epochs: int = 8
    """Passes over the training images."""
    hidden: int = 100
    """Size of the one hidden layer of encoder and decoder."""
    batch_size: int = 100
    """Images a step."""
    seed: int = 0
    """Seed of weights, batches and draws."""


def make_pair(config: Config, images: Tensor) -> VAE:
    """The untrained pair, in float32."""
    torch.manual_seed(config.seed)
    pixels, size = images.shape[1], config.truncation
    encoder = mlp(pixels, [config.hidden], 2 * size - 2, layer=Dense)
    posterior = StickBreakingPosterior(encoder, concentration=max(0.1, config.concentration))
    decoder = nn.Sequential(StickWeights(), *mlp(size, [config.hidden], pixels, layer=Dense))
    prior = GEMPrior(size, config.concentration)
    return VAE(prior, BernoulliLikelihood(decoder, images.mean(0)), posterior)


def bounds(config: Config, pair: VAE, images: Tensor, gradient: Gradient) -> list[float]:
    """The mean bound over the images in each epoch, in nats, in the images' dtype."""
    pair = copy.deepcopy(pair).to(images.dtype)
    elbo = IWELBO(config.particles, gradient=gradient, max_plate_nesting=1)
    adam = torch.optim.Adam(pair.parameters(), lr=config.learning_rate)
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
    pair = make_pair(config, images)
    print("| gradient | format | " + " | ".join(f"epoch {i + 1}" for i in range(config.epochs)) + " |")
    print("|---|---|" + "---|" * config.epochs)
    for gradient in get_args(Gradient):
        formats = {"float32": torch.float32, "float64": torch.float64}
        runs = {name: bounds(config, pair, images.to(dtype), gradient) for name, dtype in formats.items()}
        for name, values in runs.items():
            print(f"| {gradient} | {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |", flush=True)
        apart = max(abs(a - b) for a, b in zip(*runs.values(), strict=True))
        print(f"\n{gradient}: at most {apart:.4f} nats apart\n", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Config))
