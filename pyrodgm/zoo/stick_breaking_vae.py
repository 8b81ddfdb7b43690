"""VAEs with stick-breaking latents, and the Gaussian one beside them.

Nalisnick and Smyth (2017), "Stick-breaking variational autoencoders", arXiv 1605.06197. The defaults are the published
networks and settings, for a fixed number of epochs. The authors' two plans are here too: `--network convolutional`, and
`--layers 2` for sticks under sticks. On grey data (grey_mnist) the likelihood is the cross-entropy of grey values, a
pseudo-likelihood: its results compare with other pseudo-likelihoods only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import ELBO
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.likelihoods import BernoulliLikelihood, GreyBernoulliLikelihood
from pyrodgm.models import HVAE, VAE
from pyrodgm.nn import Dense, GatedJoint, Joint, Scale, StickWeights, conv_decoder, conv_encoder, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import GEMPrior, StandardNormal


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train a VAE with stick-breaking or Gaussian latents, evaluate it on the test set and write figures."""

    RENAMED: ClassVar[dict[str, str]] = {"latent": "latents", "momentum": "beta1"}

    data: str = "mnist"
    learning_rate: float = 3e-4
    latents: Literal["gaussian", "kumaraswamy", "logit_normal", "gamma", "beta"] = "kumaraswamy"
    """Gaussian latents, or the family of the posterior's breaking fractions."""
    truncation: int = 50
    """Number of sticks, or of Gaussian dimensions."""
    concentration: float = 5.0
    """Concentration of the GEM prior, and where the posterior starts; where it starts if it is learned."""
    learn_concentration: bool = False
    """Learn the concentration."""
    hyperprior: tuple[float, float] | None = None
    """Shape and rate of a Gamma hyperprior on a learned concentration."""
    hidden: tuple[int, ...] = (500,)
    """Sizes of the ReLU layers of encoder and, in reverse, decoder."""
    network: Literal["dense", "convolutional"] = "dense"
    """Convolutions come between image and hidden layers."""
    channels: tuple[int, ...] = (32, 64)
    """Channels of the encoder's convolutions, each of which halves the image, and in reverse of the decoder's."""
    layers: Literal[1, 2] = 1
    """Stochastic layers; with 2 the lower one is conditioned on an upper one of the same size."""
    beta1: float = 0.95
    """Decay rate of Adam's mean gradient."""

    @property
    def title(self) -> str:
        """Data set and latents."""
        extras = [self.network] * (self.network != "dense") + ["two layers"] * (self.layers == 2)
        return " ".join([self.data, self.latents, *extras])


def build(config: Config, data: Dataset) -> VAE | HVAE:
    """The untrained pair."""
    size = config.truncation
    posterior = _latent(config, _encoder(config, data))
    prior: nn.Module = StandardNormal(size)
    if config.latents != "gaussian":
        learned = (config.learn_concentration, config.hyperprior, len(data.train))
        prior = GEMPrior(size, config.concentration, *learned)
    likelihood = GreyBernoulliLikelihood if data.values == "grey" else BernoulliLikelihood
    if config.layers == 1:
        return VAE(prior, likelihood(nn.Sequential(_scale(config), *_decoder(config, data, size))), posterior)
    wide = config.hidden[0]
    upper = nn.Sequential(_scale(config), *mlp(size, config.hidden, _parameters(config), layer=Dense))
    encoder = Joint(
        [_encoder(config, data, wide), _scale(config)],
        GatedJoint([wide, size], wide),
        mlp(wide, [], _parameters(config)),
    )
    decoder = Joint([_scale(config), _scale(config)], GatedJoint([size, size], wide), _decoder(config, data, wide))
    conditional_prior = _latent(config, upper, conditional_prior=True)
    return HVAE(prior, conditional_prior, likelihood(decoder), posterior, _latent(config, encoder))


def _scale(config: Config) -> nn.Module:
    """Latents as networks take them: stick weights scaled to a mean square of about one, as initial weights expect."""
    if config.latents == "gaussian":
        return Scale(1.0)
    return nn.Sequential(StickWeights(), Scale((config.truncation * (1 + config.concentration)) ** 0.5))


def _parameters(config: Config) -> int:
    return 2 * config.truncation - 2 * (config.latents != "gaussian")


def _latent(config: Config, net: nn.Module, conditional_prior: bool = False) -> nn.Module:
    """Distribution of a layer whose parameters a network gives."""
    if config.latents == "gaussian":
        return GaussianPosterior(net)
    # A prior of Beta fractions, against which the divergence of the Gamma ones is exact.
    fractions = "beta" if conditional_prior and config.latents == "gamma" else config.latents
    return StickBreakingPosterior(net, fractions, config.concentration)


def _encoder(config: Config, data: Dataset, out_features: int | None = None) -> nn.Sequential:
    out_features = out_features or _parameters(config)
    if config.network == "convolutional":
        return conv_encoder(data.image_shape, config.channels, out_features, config.hidden)
    return mlp(data.train.images.shape[1], config.hidden, out_features, layer=Dense)


def _decoder(config: Config, data: Dataset, in_features: int) -> nn.Sequential:
    if config.network == "convolutional":
        return conv_decoder(in_features, config.channels[::-1], data.image_shape, config.hidden[::-1])
    return mlp(in_features, config.hidden[::-1], data.train.images.shape[1], layer=Dense)


def objective(config: Config) -> ELBO:
    """The evidence lower bound."""
    return ELBO()


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser, made from parameters."""
    return partial(torch.optim.Adam, lr=config.learning_rate, betas=(config.beta1, 0.999), fused=True)


def main(config: Config) -> Iterator[str]:
    """Train and print one row of the table."""
    yield experiment.summary(config, experiment.train(SYSTEM, config, experiment.report).report.results)


SYSTEM = experiment.ImageSystem("stick_breaking_vae", Config, build, objective, optimizer, main)
