"""Adversarial variational Bayes: a VAE whose posterior is any network of image and noise.

Mescheder, Nowozin and Geiger (2017), "Adversarial variational Bayes", arXiv 1701.04722. With `--contrast` the
discriminator compares the latents with a Gaussian of their own moments (adaptive contrast, section 4), for which the
prior needs a density; the prior that a VampPrior makes of such a posterior has none.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import AdversarialELBO
from pyrodgm.models import AdversarialVAE
from pyrodgm.nn import Dense, Discriminator, mlp
from pyrodgm.posteriors import ImplicitPosterior
from pyrodgm.zoo.pairs.adversarial import AdversarialVAEConfig, decoder, optimizer, prior_of, settings


@dataclass(frozen=True)
class Config(AdversarialVAEConfig):
    """Train a VAE with an implicit posterior, evaluate its decoder and draws, and write figures."""

    learning_rate: float = 1e-4
    hidden: tuple[int, ...] = (300, 300)
    noise_size: int = 32
    """Noise dimensions of the encoder."""
    contrast: int | None = None
    """Draws per image of which the moments for adaptive contrast are taken; None: the discriminator sees the prior."""

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
    prior = prior_of(config, posterior, data)
    likelihood = decoder(config, data)
    return AdversarialVAE(prior, likelihood, posterior, Discriminator.dense(pixels + latent, sizes))


def objective(config: Config) -> AdversarialELBO:
    """The bound, with or without adaptive contrast."""
    return AdversarialELBO(contrast=config.contrast)


def main(config: Config) -> Iterator[str]:
    """Train, evaluate and print one row."""
    yield experiment.train(SYSTEM, config, experiment.draws_report).report


SYSTEM = experiment.ImageSystem(
    "adversarial_variational_bayes", Config, build, objective, optimizer, main, settings, report=experiment.draws_report
)
