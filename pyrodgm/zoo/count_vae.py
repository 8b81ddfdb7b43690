"""VAEs of counts, as of genes in single cells, under priors past the Gaussian.

Lopez et al. (2018), "Deep generative modeling for single-cell transcriptomics" (scVI), Nature Methods 15, 1053: counts
are (zero-inflated) negative binomial around a library size times shares that a network decodes from the latent. The
prior of the latent may be a standard normal, as published, a mixture of Gaussians, a VampPrior, or the truncated
stick-breaking prior of a Dirichlet process, whose latents are sticks. The defaults have the published sizes of the
networks; gated layers stand for their batch-normalised ones.

The encoder sees each datum as a profile: its counts as shares of its library size, scaled to the median one and put on
a logarithmic scale in [0, 1]. Pseudo-inputs of a VampPrior are such profiles. They carry no library size, which has a
posterior and a prior of its own; each pass gives them to the same encoder that the data go through.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import ELBO
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.likelihoods import NegativeBinomialLikelihood, PoissonLikelihood
from pyrodgm.models import CountVAE
from pyrodgm.nn import CountProfile, Scale, StickWeights, log_library_size, mlp
from pyrodgm.posteriors import GaussianPosterior, LibraryPosterior, StickBreakingPosterior
from pyrodgm.priors import LibraryPrior, VampPrior
from pyrodgm.zoo.pairs.named_prior import named_prior


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train a VAE of counts, evaluate it on the test set and write figures."""

    data: str = "digit_counts"
    batch_size: int = 128
    epochs: int = 400
    prior: Literal["standard", "mixture", "vampprior", "sticks"] = "standard"
    """Prior of the latents: Gaussian, mixture of Gaussians, VampPrior, or weights of a stick that is broken again and
    again."""
    components: int = 50
    """Components of a mixture, pseudo-inputs of a VampPrior."""
    concentration: float = 1.0
    """Concentration of the stick-breaking prior."""
    counts: Literal["poisson", "negative-binomial", "zero-inflated"] = "zero-inflated"
    """Distribution of the counts."""
    dispersion: Literal["gene", "datum"] = "gene"
    """One dispersion for each dimension of the data, or one for each and each datum."""
    library: Literal["observed", "latent"] = "latent"
    """Library size: the sum of the counts of a datum, or a latent with a log-normal prior."""
    latent: int = 10
    """Number of latent dimensions, or of sticks."""
    hidden: tuple[int, ...] = (128,)
    """Sizes of the gated hidden layers of encoder and, in reverse, decoder."""

    @property
    def title(self) -> str:
        """Data set, prior, and the distribution of the counts."""
        dispersion = "dispersion by datum" if self.dispersion == "datum" else ""
        observed = "observed library" if self.library == "observed" else ""
        return " ".join(filter(None, [self.data, self.prior, self.counts, dispersion, observed]))


def build(config: Config, data: Dataset) -> CountVAE:
    """The untrained pair."""
    if data.values != "counts":
        raise ValueError(f"--data must be counts for count_vae, got {data.name}, whose values are {data.values}")
    counts = data.train.images
    genes, size = counts.shape[1], config.latent
    profile = CountProfile(float(log_library_size(counts).median().exp()))
    outputs = 2 * size - 2 * (config.prior == "sticks")
    encoder = nn.Sequential(Scale(profile.scale), *mlp(genes, config.hidden, outputs))
    if config.prior == "sticks":
        posterior: nn.Module = StickBreakingPosterior(encoder, concentration=config.concentration)
    else:
        posterior = GaussianPosterior(encoder)
    library = (None, None) if config.library == "observed" else _library(config, data)
    likelihood = _likelihood(config, data)
    vampprior = lambda: VampPrior.from_data(posterior, config.components, profile(counts))  # noqa: E731
    prior = named_prior(config.prior, config.latent, config.components, vampprior, config.concentration)
    return CountVAE(prior, likelihood, nn.Sequential(profile, posterior), *library)


def _library(config: Config, data: Dataset) -> tuple[nn.Module, nn.Module]:
    counts = data.train.images
    return LibraryPrior(counts), LibraryPosterior(mlp(counts.shape[1], config.hidden, 2))


def _likelihood(config: Config, data: Dataset) -> nn.Module:
    genes, size = data.train.images.shape[1], config.latent
    by_datum, zero_inflated = config.dispersion == "datum", config.counts == "zero-inflated"
    outputs = genes if config.counts == "poisson" else genes * (1 + by_datum + zero_inflated)
    net = mlp(size, config.hidden[::-1], outputs)
    if config.prior == "sticks":  # scaled to a mean square of about one, as initial weights expect
        net = nn.Sequential(StickWeights(), Scale((size * (1 + config.concentration)) ** 0.5), *net)
    if config.counts == "poisson":
        return PoissonLikelihood(net, data.mean)
    return NegativeBinomialLikelihood(net, genes, data.mean, config.dispersion, zero_inflated)


def objective(config: Config) -> ELBO:
    """The evidence lower bound."""
    return ELBO()


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser, made from parameters."""
    return partial(torch.optim.Adam, lr=config.learning_rate, fused=True)


def main(config: Config) -> Iterator[str]:
    """Train and print one row of the table."""
    yield experiment.summary(config, experiment.train(SYSTEM, config, experiment.report).report.results)


SYSTEM = experiment.ImageSystem("count_vae", Config, build, objective, optimizer, main, values=("counts",))
