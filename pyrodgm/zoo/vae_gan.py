"""VAE/GAN: reconstructions are compared by the features of a discriminator of images.

Larsen et al. (2016), "Autoencoding beyond pixels using a learned similarity metric", arXiv 1512.09300, with dense
networks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import VAEGANLoss
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.models import AdversarialVAE
from pyrodgm.nn import Dense, Discriminator, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.zoo.pairs.adversarial import GAMES, GameName, PriorName, adam, decoder, named_prior


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train a VAE/GAN, evaluate its decoder and draws, and write figures."""

    num_images: int | None = 100
    learning_rate: float = 2e-4
    latent: int = 32
    """Number of latent dimensions."""
    hidden: tuple[int, ...] = (256, 512)
    """Sizes of the hidden layers of decoder and, in reverse, of the other networks."""
    prior: PriorName = "standard"
    """Prior of the latents; sticks are those of a Dirichlet process, the latents the logits of their fractions."""
    components: int = 500
    """Components of a mixture, pseudo-inputs of a VampPrior."""
    concentration: float = 5.0
    """Concentration of the sticks."""
    feature_weight: float = 0.1
    """Weight of the features' errors in the loss of the decoder, beside the game."""
    game: GameName = "non-saturating"
    """Losses of the two players: logistic and non-saturating, Wasserstein with gradient penalty, or hinge."""
    critic_steps: int = 1
    """Steps of the discriminator before each of the rest."""
    beta1: float = 0.5
    """Decay of the first moment of Adam, of both players."""

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
    prior = named_prior(config.prior, posterior, latent, config.components, config.concentration, data)
    likelihood = decoder(config.prior, latent, config.hidden, data)
    return AdversarialVAE(prior, likelihood, posterior, Discriminator.dense(pixels, sizes))


def objective(config: Config) -> VAEGANLoss:
    """The losses that the flags name."""
    return VAEGANLoss(feature_weight=config.feature_weight, game=GAMES[config.game]())


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser of both players, made from parameters."""
    return adam(config.learning_rate, config.beta1)


def settings(config: Config, data: Dataset) -> dict[str, Any]:
    """Steps of the discriminator."""
    return {"critic_steps": config.critic_steps}


def main(config: Config) -> Iterator[str]:
    """Train, evaluate and print one row."""
    yield experiment.train(SYSTEM, config, experiment.draws_report).report


SYSTEM = experiment.ImageSystem(
    "vae_gan", Config, build, objective, optimizer, main, settings, report=experiment.draws_report
)
