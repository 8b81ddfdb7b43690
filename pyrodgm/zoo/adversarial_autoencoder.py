"""Adversarial autoencoders: the latents of the data are matched to draws of any prior.

Makhzani et al. (2015), "Adversarial autoencoders", arXiv 1511.05644. The encoder may be deterministic, Gaussian, or a
network of the image and of noise; the first and the last have no density, and the prior that a VampPrior makes of the
last has none either.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import AdversarialAutoencoderLoss
from pyrodgm.models import AdversarialVAE
from pyrodgm.nn import Dense, Discriminator, mlp
from pyrodgm.posteriors import GaussianPosterior, ImplicitPosterior
from pyrodgm.zoo.pairs.adversarial import (
    GAMES,
    AdversarialVAEConfig,
    GameName,
    decoder,
    optimizer,
    prior_of,
    settings,
)
from pyrodgm.zoo.pairs.named_prior import PriorName


@dataclass(frozen=True)
class Config(AdversarialVAEConfig):
    """Train an adversarial autoencoder, evaluate its decoder and draws, and write figures."""

    learning_rate: float = 3e-4
    latent: int = 8
    hidden: tuple[int, ...] = (1000, 1000)
    prior: PriorName = "mixture"
    encoder: Literal["deterministic", "gaussian", "noisy"] = "gaussian"
    """What a datum is encoded as: a point, a Gaussian, or the distribution that a network makes of noise."""
    noise_size: int = 32
    """Noise dimensions of a noisy encoder."""
    weight: float = 10.0
    """Weight of the adversarial term beside the reconstruction."""
    game: GameName = "non-saturating"
    """Losses of the two players: logistic and non-saturating, Wasserstein with gradient penalty, or hinge."""

    @property
    def title(self) -> str:
        """Data set, prior and encoder."""
        return f"{self.data} aae {self.prior} {self.encoder}"


def build(config: Config, data: Dataset) -> AdversarialVAE:
    """The untrained pair."""
    pixels, sizes, latent = data.train.images.shape[1], config.hidden[::-1], config.latent
    noise = config.noise_size if config.encoder == "noisy" else 0
    posterior: nn.Module
    if config.encoder == "gaussian":
        posterior = GaussianPosterior(mlp(pixels, sizes, 2 * latent, layer=Dense))
    else:
        posterior = ImplicitPosterior(mlp(pixels + noise, sizes, latent, layer=Dense), latent, noise)
    prior = prior_of(config, posterior, data)
    likelihood = decoder(config, data)
    return AdversarialVAE(prior, likelihood, posterior, Discriminator.dense(latent, sizes))


def objective(config: Config) -> AdversarialAutoencoderLoss:
    """The losses that the flags name."""
    return AdversarialAutoencoderLoss(config.weight, GAMES[config.game]())


def main(config: Config) -> Iterator[str]:
    """Train, evaluate and print one row."""
    yield experiment.train(SYSTEM, config, experiment.draws_report).report


SYSTEM = experiment.ImageSystem(
    "adversarial_autoencoder", Config, build, objective, optimizer, main, settings, report=experiment.draws_report
)
