"""VAE/GAN: reconstructions are compared by the features of a discriminator of images.

Larsen et al. (2016), "Autoencoding beyond pixels using a learned similarity metric", arXiv 1512.09300, with dense
networks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import VAEGANLoss
from pyrodgm.models import AdversarialVAE
from pyrodgm.nn import Dense, Discriminator, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.zoo.pairs.adversarial import (
    GAMES,
    AdversarialVAEConfig,
    GameName,
    decoder,
    optimizer,
    prior_of,
    settings,
)


@dataclass(frozen=True)
class Config(AdversarialVAEConfig):
    """Train a VAE/GAN, evaluate its decoder and draws, and write figures."""

    learning_rate: float = 2e-4
    feature_weight: float = 0.1
    """Weight of the features' errors in the loss of the decoder, beside the game."""
    game: GameName = "non-saturating"
    """Losses of the two players: logistic and non-saturating, Wasserstein with gradient penalty, or hinge."""

    @property
    def title(self) -> str:
        """Data set and prior."""
        return f"{self.data} vae_gan {self.prior}"


def build(config: Config, data: Dataset) -> AdversarialVAE:
    """The untrained pair."""
    pixels, sizes, latent = data.train.images.shape[1], config.hidden[::-1], config.latent
    encoder = mlp(pixels, sizes, 2 * latent, layer=Dense)
    posterior: nn.Module = GaussianPosterior(encoder)
    if config.prior == "sticks":
        posterior = StickBreakingPosterior(encoder, concentration=config.concentration)
    prior = prior_of(config, posterior, data)
    likelihood = decoder(config, data)
    return AdversarialVAE(prior, likelihood, posterior, Discriminator.dense(pixels, sizes))


def objective(config: Config) -> VAEGANLoss:
    """The losses that the flags name."""
    return VAEGANLoss(feature_weight=config.feature_weight, game=GAMES[config.game]())


def main(config: Config) -> Iterator[str]:
    """Train, evaluate and print one row."""
    yield experiment.train(SYSTEM, config, experiment.draws_report).report


SYSTEM = experiment.ImageSystem(
    "vae_gan", Config, build, objective, optimizer, main, settings, report=experiment.draws_report
)
