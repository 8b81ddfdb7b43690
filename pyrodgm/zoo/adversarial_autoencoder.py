"""Adversarial autoencoders: the latents of the data are matched to draws of any prior.

Makhzani et al. (2015), "Adversarial autoencoders", arXiv 1511.05644. The encoder may be deterministic, Gaussian, or a
network of the image and of noise; the first and the last have no density, and the prior that a VampPrior makes of the
last has none either.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import AdversarialAutoencoderLoss
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.models import AdversarialVAE
from pyrodgm.nn import Dense, Discriminator, mlp
from pyrodgm.posteriors import GaussianPosterior, ImplicitPosterior
from pyrodgm.zoo.pairs.adversarial import GAMES, GameName, PriorName, adam, decoder, named_prior


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train an adversarial autoencoder, evaluate its decoder and draws, and write figures."""

    num_images: int | None = 100
    learning_rate: float = 3e-4
    latent: int = 8
    """Number of latent dimensions."""
    hidden: tuple[int, ...] = (1000, 1000)
    """Sizes of the hidden layers of decoder and, in reverse, of the other networks."""
    prior: PriorName = "mixture"
    """Prior of the latents; sticks are those of a Dirichlet process, the latents the logits of their fractions."""
    components: int = 500
    """Components of a mixture, pseudo-inputs of a VampPrior."""
    concentration: float = 5.0
    """Concentration of the sticks."""
    encoder: Literal["deterministic", "gaussian", "noisy"] = "gaussian"
    """What a datum is encoded as: a point, a Gaussian, or the distribution that a network makes of noise."""
    noise_size: int = 32
    """Noise dimensions of a noisy encoder."""
    weight: float = 10.0
    """Weight of the adversarial term beside the reconstruction."""
    game: GameName = "non-saturating"
    """Losses of the two players: logistic and non-saturating, Wasserstein with gradient penalty, or hinge."""
    critic_steps: int = 1
    """Steps of the discriminator before each of the rest."""
    beta1: float = 0.5
    """Decay of the first moment of Adam, of both players."""

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
    prior = named_prior(config.prior, posterior, latent, config.components, config.concentration, data)
    likelihood = decoder(config.prior, latent, config.hidden, data)
    return AdversarialVAE(prior, likelihood, posterior, Discriminator.dense(latent, sizes))


def objective(config: Config) -> AdversarialAutoencoderLoss:
    """The losses that the flags name."""
    return AdversarialAutoencoderLoss(config.weight, GAMES[config.game]())


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
    "adversarial_autoencoder", Config, build, objective, optimizer, main, settings, report=experiment.draws_report
)
