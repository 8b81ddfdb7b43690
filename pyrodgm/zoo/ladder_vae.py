"""Ladder VAEs, hierarchical VAEs and layered VAEs or IWAEs, with any number of stochastic layers.

Sønderby et al. (2016), "Ladder variational autoencoders", arXiv 1602.02282. The defaults are the published sizes of
five layers, batch normalisation, warm-up and batches, with a constant learning rate. `--model hvae` puts networks of
data and upper layer in place of the ladder's weighting by precisions, `--model bottom-up` guides from the data upwards;
on `--objective iwelbo` the latter is the importance-weighted autoencoder of Burda et al. (2015), arXiv 1509.00519.

The prior of the top layer may be a mixture of Gaussians or a VampPrior too. Pseudo-inputs go through the encoder as a
batch of their own, whose statistics are not those of the data, so that a VampPrior needs `--no-batch-norm`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import ELBO, IWELBO
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import BottomUpVAE, TopDownVAE
from pyrodgm.nn import Dense, NormalizedDense, joint_mlp, mlp
from pyrodgm.posteriors import GaussianPosterior, PrecisionWeightedPosterior
from pyrodgm.priors import MixtureOfGaussians, StandardNormal, VampPrior


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train a VAE of several stochastic layers, evaluate it on the test set and write figures."""

    data: str = "mnist"
    batch_size: int = 256
    epochs: int = 2000
    warmup: float = 200.0
    model: Literal["ladder", "hvae", "bottom-up"] = "ladder"
    """How the latents are guided: from the top down by precisions or by networks, or from the data upwards."""
    prior: Literal["standard", "mixture", "vampprior"] = "standard"
    """Prior of the top layer."""
    components: int = 500
    """Components of a mixture, pseudo-inputs of a VampPrior."""
    latent: tuple[int, ...] = (64, 32, 16, 8, 4)
    """Latent dimensions of each stochastic layer, from the data upwards."""
    hidden: tuple[int, ...] = (512, 256, 128, 64, 32)
    """Sizes of the two leaky rectifier layers below each stochastic layer, from the data upwards."""
    batch_norm: bool = True
    """Batch normalisation in all hidden layers."""
    objective: Literal["elbo", "iwelbo"] = "elbo"
    """Evidence lower bound, or importance-weighted bound."""
    particles: int = 5
    """Samples of the latents for each image in the importance-weighted bound."""

    @property
    def title(self) -> str:
        """Data set, model, number of layers, and what else is not as published."""
        name = f"{self.model}-{len(self.latent)}"
        prior = "" if self.prior == "standard" else self.prior
        norm = "" if self.batch_norm else "no-norm"
        objective = "" if self.objective == "elbo" else f"iwelbo{self.particles}"
        return " ".join(filter(None, [self.data, name, prior, norm, objective]))


def build(config: Config, data: Dataset) -> TopDownVAE | BottomUpVAE:
    """The untrained pair."""
    latent, hidden, pixels = config.latent, config.hidden, data.train.images.shape[1]
    if not latent or len(latent) != len(hidden):
        raise ValueError(f"--latent and --hidden must name as many sizes, at least one, got {latent} and {hidden}")
    if config.prior == "vampprior" and (config.batch_norm or config.model == "bottom-up"):
        raise ValueError(
            "--prior vampprior needs --no-batch-norm and a model with a posterior of the top layer given the data "
            f"(ladder or hvae), got --model {config.model}{' with batch normalisation' if config.batch_norm else ''}"
        )
    down = [
        _gaussian(config, above, size, below) for (below, above), size in zip(pairwise(latent), hidden[1:], strict=True)
    ]
    likelihood = BernoulliLikelihood(_net(config, latent[0], hidden[0], pixels), mean=data.mean)
    if config.model == "bottom-up":
        up = [
            _gaussian(config, below, size, above)
            for (below, above), size in zip(pairwise(latent), hidden[1:], strict=True)
        ]
        prior = _prior(config, data)
        return BottomUpVAE(prior, down, likelihood, _gaussian(config, pixels, hidden[0], latent[0]), up)
    layers = [_net(config, below, size) for below, size in pairwise([pixels, *hidden])]
    posterior = nn.Sequential(*layers, GaussianPosterior(mlp(hidden[-1], [], 2 * latent[-1])))
    make = _ladder_posterior if config.model == "ladder" else _network_posterior
    conditional = [make(i, config, part) for i, part in enumerate(down)]
    return TopDownVAE(_prior(config, data, posterior), down, likelihood, posterior, conditional)


def _net(config: Config, in_features: int, size: int, out_features: int | None = None) -> nn.Sequential:
    """Two hidden layers, and a linear one if it is to have outputs."""
    rectifier = partial(nn.LeakyReLU, 0.1)
    layer = partial(NormalizedDense if config.batch_norm else Dense, activation=rectifier)
    if out_features is None:
        return nn.Sequential(layer(in_features, size), layer(size, size))
    return mlp(in_features, [size, size], out_features, layer=layer)


def _gaussian(config: Config, in_features: int, size: int, out_features: int) -> GaussianPosterior:
    return GaussianPosterior(_net(config, in_features, size, 2 * out_features))


def _ladder_posterior(i: int, config: Config, conditional_prior: nn.Module) -> nn.Module:
    evidence = GaussianPosterior(mlp(config.hidden[i], [], 2 * config.latent[i]))
    return PrecisionWeightedPosterior(evidence, conditional_prior)


def _network_posterior(i: int, config: Config, conditional_prior: nn.Module) -> nn.Module:
    size = config.hidden[i]
    return GaussianPosterior(joint_mlp([size, config.latent[i + 1]], [size], 2 * config.latent[i]))


def _prior(config: Config, data: Dataset, posterior: nn.Module | None = None) -> nn.Module:
    if config.prior == "mixture":
        return MixtureOfGaussians(config.latent[-1], config.components)
    if config.prior == "vampprior" and posterior is not None:
        return VampPrior.around_mean(posterior, config.components, data.mean)
    return StandardNormal(config.latent[-1])


def objective(config: Config) -> ELBO | IWELBO:
    """The estimator that the flags name."""
    return ELBO() if config.objective == "elbo" else IWELBO(config.particles)


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser, made from parameters."""
    return partial(torch.optim.Adam, lr=config.learning_rate, fused=True)


def main(config: Config) -> Iterator[str]:
    """Train and print one row of the table."""
    yield experiment.summary(config, experiment.train(SYSTEM, config, experiment.report).report.results)


SYSTEM = experiment.ImageSystem("ladder_vae", Config, build, objective, optimizer, main)
