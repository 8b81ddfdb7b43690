"""Generative adversarial networks with three losses.

Goodfellow et al. (2014), "Generative adversarial nets", arXiv 1406.2661; Gulrajani et al. (2017), "Improved training of
Wasserstein GANs", arXiv 1704.00028; Lim and Ye (2017), "Geometric GAN", arXiv 1705.02894. The defaults are dense
networks and the settings of the second. A generator has no likelihood: the one reported is that of its images with
Gaussian noise of `--noise`, by annealed importance sampling (Wu et al. 2017, arXiv 1611.04273).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import GANLoss
from pyrodgm.likelihoods import ImplicitLikelihood
from pyrodgm.models import GAN
from pyrodgm.nn import Dense, Discriminator, mlp
from pyrodgm.priors import StandardNormal
from pyrodgm.zoo.pairs.adversarial import GAMES, GameName, TwoPlayerConfig, optimizer, settings


@dataclass(frozen=True)
class Config(TwoPlayerConfig):
    """Train a GAN, compare its draws with test images and write figures."""

    data: str = "grey_mnist"
    learning_rate: float = 2e-4
    latent: int = 50
    """Number of latent dimensions."""
    game: GameName = "wasserstein"
    """Losses of the two players: logistic and non-saturating, Wasserstein with gradient penalty, or hinge."""
    critic_steps: int = 5
    noise: float = 0.2
    """Standard deviation of the noise on the images for the likelihood."""

    @property
    def title(self) -> str:
        """Data set and losses."""
        return f"{self.data} gan {self.game}"


def build(config: Config, data: Dataset) -> GAN:
    """The untrained pair; its images lie in [0, 1]."""
    pixels = data.train.images.shape[1]
    generator = nn.Sequential(*mlp(config.latent, config.hidden, pixels, layer=Dense), nn.Sigmoid())
    discriminator = Discriminator.dense(pixels, config.hidden[::-1])
    return GAN(StandardNormal(config.latent), ImplicitLikelihood(generator), discriminator)


def objective(config: Config) -> GANLoss:
    """The losses that the flags name."""
    return GANLoss(GAMES[config.game]())


def main(config: Config) -> Iterator[str]:
    """Train, evaluate and print one row."""
    yield experiment.train(SYSTEM, config, experiment.draws_report).report


SYSTEM = experiment.ImageSystem(
    "gan", Config, build, objective, optimizer, main, settings, report=experiment.draws_report
)
