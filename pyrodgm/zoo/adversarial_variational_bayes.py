"""Adversarial variational Bayes: a VAE whose posterior is any network of image and noise.

Mescheder, Nowozin and Geiger (2017), "Adversarial variational Bayes", arXiv 1701.04722. With `--contrast` the
discriminator compares the latents with a Gaussian of their own moments (adaptive contrast, section 4), for which the
prior needs a density; the prior that a VampPrior makes of such a posterior has none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import AdversarialELBO
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.models import AdversarialVAE
from pyrodgm.nn import Dense, Discriminator, mlp
from pyrodgm.posteriors import ImplicitPosterior
from pyrodgm.zoo.pairs.adversarial import PriorName, adam, decoder, named_prior


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train a VAE with an implicit posterior, evaluate its decoder and draws, and write figures."""

    num_images: int | None = 100
    learning_rate: float = 1e-4
    latent: int = 32
    """Number of latent dimensions."""
    hidden: tuple[int, ...] = (300, 300)
    """Sizes of the hidden layers of decoder and, in reverse, of the other networks."""
    prior: PriorName = "standard"
    """Prior of the latents; sticks are those of a Dirichlet process, the latents the logits of their fractions."""
    components: int = 500
    """Components of a mixture, pseudo-inputs of a VampPrior."""
    concentration: float = 5.0
    """Concentration of the sticks."""
    noise_size: int = 32
    """Noise dimensions of the encoder."""
    contrast: int | None = None
    """Draws per image of which the moments for adaptive contrast are taken; None: the discriminator sees the prior."""
    critic_steps: int = 1
    """Steps of the discriminator before each of the rest."""
    beta1: float = 0.5
    """Decay of the first moment of Adam, of both players."""

    @property
    def title(self) -> str:
        """Data set, prior and contrast."""
        contrast = "" if self.contrast is None else " adaptive contrast"
        return f"{self.data} avb {self.prior}{contrast}"


def build(config: Config, data: Dataset) -> AdversarialVAE:
    """The untrained pair."""
    pixels, sizes, latent = data.train.images.shape[1], config.hidden[::-1], config.latent
    encoder = mlp(pixels + config.noise_size, sizes, latent, layer=Dense)
    posterior = ImplicitPosterior(encoder, latent, config.noise_size)
    prior = named_prior(config.prior, posterior, latent, config.components, config.concentration, data)
    likelihood = decoder(config.prior, latent, config.hidden, data)
    return AdversarialVAE(prior, likelihood, posterior, Discriminator.dense(pixels + latent, sizes))


def objective(config: Config) -> AdversarialELBO:
    """The bound, with or without adaptive contrast."""
    return AdversarialELBO(contrast=config.contrast)


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
    "adversarial_variational_bayes", Config, build, objective, optimizer, main, settings, report=experiment.draws_report
)
