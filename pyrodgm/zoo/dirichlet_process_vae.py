"""Deep latent Gaussian mixtures, finite and Dirichlet-process ones, and the Gaussian VAE beside them.

Nalisnick, Hertel and Smyth (2016), "Approximate inference for deep latent Gaussian mixtures". The defaults are the
published networks and settings.

The mixtures leave the mean image later than the Gaussian VAE does, and the Dirichlet process stays there without a
warm-up of the KL term, which is therefore on by default. The published likelihoods come from 50 importance samples:
`--num-samples 50`. The published code pairs the draw of each component with its own density alone (`--objective
published`); the default takes the density of the whole mixture.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import ELBO, IWELBO, MixtureDensityELBO, StratifiedELBO, posterior_means
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import DLGMM, VAE, TwoLayerDLGMM
from pyrodgm.nn import Dense, mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal
from pyrodgm.zoo.pairs import dense_dlgmm, dense_dpvae, dense_two_layer_dlgmm


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train a latent mixture, evaluate it on the test set and write figures."""

    epochs: int = 500
    warmup: float = 10.0
    patience: int | None = 25
    learning_rate: float = 3e-4
    model: Literal["dlgmm", "dpvae", "two-layer", "vae"] = "dpvae"
    """Finite mixture, truncated Dirichlet process, a mixture on top of a mixture, or one Gaussian."""
    components: int = 17
    """Components of the mixture, or truncation of the Dirichlet process."""
    concentration: float = 1.0
    """Concentration of the Dirichlet, or of the Dirichlet process."""
    component_prior: Literal["standard", "spread", "learned"] = "standard"
    """Prior of the components: all the same, with means at fixed places, or with learned means and variances."""
    spread: float = 0.5
    """How far apart the means of the components are, at fixed places or at the start."""
    latent: int = 25
    """Number of latent dimensions; the lower layer of two has twice as many."""
    hidden: tuple[int, ...] = (500, 500)
    """Sizes of the ReLU layers of encoder and, in reverse, decoder."""
    objective: Literal["mixture", "published", "stratified", "elbo", "iwelbo"] = "mixture"
    """Expected weights and the whole mixture's density, its published pairing, or a general estimator."""
    particles: int = 1
    """Samples of the weights, and of the latents, an image."""

    @property
    def title(self) -> str:
        """Data set, model, and what else is not as published."""
        size = "" if self.model == "vae" else str(self.components)
        prior = "" if self.component_prior == "standard" or self.model == "vae" else self.component_prior
        objective = "" if self.objective == "mixture" else self.objective
        return " ".join(filter(None, [self.data, self.model + size, prior, objective]))


def build(config: Config, data: Dataset) -> DLGMM | TwoLayerDLGMM | VAE:
    """The untrained pair."""
    pixels, size, hidden = data.train.images.shape[1], config.latent, config.hidden
    if config.model == "vae":
        likelihood = BernoulliLikelihood(mlp(size, hidden[::-1], pixels, layer=Dense), mean=data.mean)
        return VAE(StandardNormal(size), likelihood, GaussianPosterior(mlp(pixels, hidden, 2 * size, layer=Dense)))
    if config.model == "two-layer":
        sizes = (2 * size, size)
        return dense_two_layer_dlgmm(pixels, config.components, sizes, hidden, config.concentration, mean=data.mean)
    make = dense_dlgmm if config.model == "dlgmm" else dense_dpvae
    kind, spread = config.component_prior, config.spread
    return make(pixels, config.components, size, hidden, config.concentration, kind, spread, data.mean)


def check(config: Config) -> None:
    """Refuse flags that would change the name of the run and nothing else."""
    if config.model == "two-layer" and config.component_prior != "standard":
        raise SystemExit(f"--component-prior {config.component_prior} is not for --model two-layer")
    if config.model == "vae" and config.objective in ("published", "stratified"):
        raise SystemExit(f"--objective {config.objective} is for mixtures, not for --model vae")


def objective(config: Config) -> ELBO | IWELBO:
    """The estimator that the flags name; the evidence bound for a Gaussian VAE."""
    if config.objective == "iwelbo":
        return IWELBO(config.particles)
    if config.objective == "elbo" or config.model == "vae":
        return ELBO(num_particles=config.particles, vectorize_particles=True)
    if config.objective == "stratified":
        return StratifiedELBO(num_particles=config.particles)
    return MixtureDensityELBO(
        num_particles=config.particles, pairing="own" if config.objective == "published" else "full"
    )


def usage(pair: nn.Module, data: Dataset) -> str:
    """Mean weight of each component over the test images, and the share of images of which it has the largest."""
    lines = []
    for site, weights in posterior_means(pair, data.test.images).items():
        if site.startswith("pi"):
            largest = weights.argmax(-1).bincount(minlength=weights.shape[-1]) / len(weights)
            lines.append(f"\nE[{site}]:  " + "  ".join(f"{100 * share:.1f}" for share in weights.mean(0)) + " %")
            lines.append("\nlargest: " + "  ".join(f"{100 * share:.1f}" for share in largest) + " % of the images")
    return "".join(lines)


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser, made from parameters."""
    return partial(torch.optim.Adam, lr=config.learning_rate, fused=True)


def main(config: Config) -> Iterator[str]:
    """Train and print one row of the table, and how much each component is used."""
    check(config)
    trained = experiment.train(SYSTEM, config, experiment.report)
    yield experiment.summary(config, trained.report.results) + usage(trained.pair, trained.data)


SYSTEM = experiment.ImageSystem("dirichlet_process_vae", Config, build, objective, optimizer, main)
