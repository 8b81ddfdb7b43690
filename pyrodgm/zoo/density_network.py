"""The density network: training without an encoder, by importance samples from the prior, beside the VAE.

MacKay and Gibbs (1999), "Density networks". Two latent dimensions are well covered by draws from the prior; as more
are added, hardly any draw explains an image, neither in training nor in evaluation.

The table of `--compare` has, for each number of dimensions, the density network evaluated with draws from its prior,
the same network evaluated with an encoder that was fitted to it afterwards, and the VAE with the same decoder.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import ELBO, IWELBO, fit
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE, DensityNetwork
from pyrodgm.nn import Dense, mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train a density network, evaluate it on the test set and write figures."""

    epochs: int = 50
    latent: int = 2
    """Number of latent dimensions."""
    guide: Literal["prior", "encoder"] = "prior"
    """Where importance samples come from: the prior, or an encoder, which makes it a VAE."""
    particles: int = 100
    """Draws from the prior an image and step."""
    hidden: tuple[int, ...] = (200,)
    """Sizes of the ReLU layers of the decoder and, in reverse, of an encoder."""
    compare: tuple[int, ...] = ()
    """Numbers of latent dimensions at which to compare density network and VAE; none: train one network."""

    @property
    def title(self) -> str:
        """Data set, guide and dimensions."""
        return f"{self.data} {'density network' if self.guide == 'prior' else 'vae'} z{self.latent}"


def build(config: Config, data: Dataset) -> DensityNetwork | VAE:
    """The untrained pair."""
    decoder = mlp(config.latent, config.hidden, data.train.images.shape[1], layer=Dense)
    prior, likelihood = StandardNormal(config.latent), BernoulliLikelihood(decoder, mean=data.mean)
    if config.guide == "prior":
        return DensityNetwork(prior, likelihood)
    return VAE(prior, likelihood, _encoder(config, data))


def _encoder(config: Config, data: Dataset) -> GaussianPosterior:
    return GaussianPosterior(mlp(data.train.images.shape[1], config.hidden[::-1], 2 * config.latent, layer=Dense))


def objective(config: Config) -> ELBO | IWELBO:
    """The evidence bound of a VAE, or the importance-weighted one of the density network."""
    return IWELBO(config.particles) if config.guide == "prior" else ELBO()


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser, made from parameters."""
    return partial(torch.optim.Adam, lr=config.learning_rate, fused=True)


class _Fixed(nn.Module):
    """A module whose parameters are none of the pair's, and so are not trained."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = (module.requires_grad_(False),)

    def forward(self, *inputs: Tensor) -> TorchDistribution:
        return self._module[0](*inputs)


def with_fitted_encoder(config: Config, pair: Any, data: Dataset) -> experiment.Results:
    """Results of a density network with an encoder fitted to its fixed decoder."""
    vae = VAE(pair.prior, _Fixed(pair.likelihood), _encoder(config, data)).to(config.device)
    fit(vae, data, epochs=config.epochs, optimizer=optimizer(config), batch_size=config.batch_size, seed=config.seed)
    num_samples, num_images = config.num_samples, config.num_images
    return experiment.evaluate(vae, data, num_samples=num_samples, num_images=num_images, seed=config.seed)[0]


def compare(config: Config) -> dict[str, experiment.Results]:
    """Rows of the table over numbers of latent dimensions; runs go into subfolders of the run folder."""
    rows = {}
    for size in config.compare:
        for guide in ("prior", "encoder"):
            folder = str(config.folder / f"{guide}-{size}")
            trial = dataclasses.replace(config, latent=size, guide=guide, run=folder, compare=())
            trained = experiment.train(SYSTEM, trial, experiment.report)
            rows[trial.title] = trained.report.results
            if guide == "prior":
                fitted = with_fitted_encoder(trial, trained.pair, trained.data)
                rows[f"{trial.title}, encoder fitted afterwards"] = fitted
    return rows


def main(config: Config) -> Iterator[str]:
    """Train and print one row of the table, or compare."""
    if config.compare:
        yield experiment.table(compare(config))
    else:
        yield experiment.summary(config, experiment.train(SYSTEM, config, experiment.report).report.results)


SYSTEM = experiment.ImageSystem("density_network", Config, build, objective, optimizer, main)
