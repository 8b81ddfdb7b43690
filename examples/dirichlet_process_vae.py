"""Deep latent Gaussian mixtures, finite and Dirichlet-process ones, and the Gaussian VAE beside them.

Nalisnick, Hertel and Smyth (2016), "Approximate inference for deep latent Gaussian mixtures". The defaults are the
published networks and settings; one command trains a model, evaluates it on the test set, prints how much its
components are used and writes one row of the table:

    python examples/dirichlet_process_vae.py --model dlgmm --components 3
    python examples/dirichlet_process_vae.py --model dpvae --components 17
    python examples/dirichlet_process_vae.py --model vae
    python examples/dirichlet_process_vae.py --model dlgmm --components 3 --objective published
    python examples/dirichlet_process_vae.py --model two-layer --components 3

The mixtures leave the mean image later than the Gaussian VAE does, and the Dirichlet process stays there without a
warm-up of the KL term, which is therefore on by default. The published likelihoods come from 50 importance samples:
--num-samples 50. The published code pairs the draw of each component with its own density alone (--objective
published); the default takes the density of the whole mixture.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import tyro
from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import ELBO, IWELBO, LogLikelihood, MixtureDensityELBO, StratifiedELBO, posterior_means
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import DLGMM, VAE, TwoLayerDLGMM, dense_dlgmm, dense_dpvae, dense_two_layer_dlgmm
from pyrodgm.nn import Dense, mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal


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
    components = {"components": config.component_prior, "spread": config.spread}
    return make(pixels, config.components, size, hidden, config.concentration, **components, mean=data.mean)


def check(config: Config) -> None:
    """Refuse flags that would change the name of the run and nothing else."""
    if config.model == "two-layer" and config.component_prior != "standard":
        raise SystemExit(f"--component-prior {config.component_prior} is not for --model two-layer")
    if config.model == "vae" and config.objective in ("published", "stratified"):
        raise SystemExit(f"--objective {config.objective} is for mixtures, not for --model vae")


def objective(config: Config) -> ELBO | IWELBO:
    """The estimator that the flags name; a Gaussian VAE has no mixture to treat in any special way."""
    if config.objective == "iwelbo":
        return IWELBO(config.particles)
    if config.objective == "elbo" or config.model == "vae":
        return ELBO(num_particles=config.particles, vectorize_particles=True)
    if config.objective == "stratified":
        return StratifiedELBO(num_particles=config.particles)
    pairing = "own" if config.objective == "published" else "full"
    return MixtureDensityELBO(num_particles=config.particles, pairing=pairing)


def usage(pair: nn.Module, data: Dataset) -> str:
    """Mean weight of each component over the test images, and the share of images of which it has the largest."""
    lines = []
    for site, weights in posterior_means(pair, data.test.images).items():
        if site.startswith("pi"):
            largest = weights.argmax(-1).bincount(minlength=weights.shape[-1]) / len(weights)
            lines.append(f"\nE[{site}]:  " + "  ".join(f"{100 * share:.1f}" for share in weights.mean(0)) + " %")
            lines.append("\nlargest: " + "  ".join(f"{100 * share:.1f}" for share in largest) + " % of the images")
    return "".join(lines)


def train(config: Config) -> tuple[experiment.Results, LogLikelihood, str]:
    """Train, evaluate, write results and figures; also says how much each component is used."""
    check(config)
    used = []

    def report(pair: nn.Module, data: Dataset, run: experiment.Run, **options: object) -> object:
        used.append(usage(pair, data))
        return experiment.report(pair, data, run, **options)

    adam = partial(torch.optim.Adam, lr=config.learning_rate, fused=True)
    options = {"objective": objective(config), "optimizer": adam, "reporter": report}
    return *experiment.train("dirichlet_process_vae", config, build, **options), used[0]


def main(config: Config) -> None:
    """Train and print one row of the table."""
    results, _, used = train(config)
    print(experiment.summary(config, results) + used)


if __name__ == "__main__":
    main(tyro.cli(Config))
