"""VAEs with mixtures of Gaussians as prior, as posterior, or as both.

Shu (2016), "Gaussian mixture VAE: lessons in variational inference, generative models, and deep nets": a mixture prior
with a thousand components on ten latent dimensions, and the two questions left open there: is a mixture posterior
better than a mixture prior, and are both together?
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from pyrodgm import experiment, plots
from pyrodgm.datasets import Dataset, evenly_spaced
from pyrodgm.infer import ELBO, IWELBO, StratifiedELBO, StratifiedIWELBO, sample_means
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import Dense, mlp
from pyrodgm.posteriors import GaussianMixturePosterior, GaussianPosterior
from pyrodgm.priors import MixtureOfGaussians, StandardNormal


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train a VAE with a mixture as prior or posterior, evaluate it on the test set and write figures."""

    data: str = "mnist"
    prior: Literal["standard", "mixture"] = "mixture"
    """Prior of the latents."""
    components: int = 1000
    """Components of a mixture prior."""
    weights: Literal["uniform", "learned"] = "uniform"
    """Weights of its components."""
    spread: float = 1.0
    """Standard deviation of the means of its components at the start."""
    posterior: Literal["gaussian", "mixture"] = "gaussian"
    """Approximate posterior of the latents."""
    posterior_components: int = 5
    """Components of a mixture posterior."""
    kl: Literal["sample", "bound"] = "sample"
    """Divergence from a mixture prior: sampled, or Shu's bound -log sum_k w_k exp(-KL_k); of --objective elbo."""
    objective: Literal["elbo", "stratified", "iwelbo", "stratified-iwelbo"] = "elbo"
    """Evidence bound or importance-weighted one; stratified: a draw from every component of a mixture posterior."""
    particles: int = 1
    """Samples of the latents an image, from each component if stratified."""
    latent: int = 10
    """Number of latent dimensions."""
    hidden: tuple[int, ...] = (500, 500)
    """Sizes of the ReLU layers of encoder and, in reverse, decoder."""
    compare: bool = False
    """Train the standard prior too, into RUN-standard, and draw samples from both side by side."""

    @property
    def title(self) -> str:
        """Data set, both distributions, and what else is not the default."""
        prior = f"mixture{self.components}" + " learned" * (self.weights == "learned")
        posterior = f"posterior{self.posterior_components}" * (self.posterior == "mixture")
        objective = f"{self.objective}{self.particles}" * (self.objective != "elbo" or self.particles > 1)
        parts = [self.data, f"z{self.latent}", prior if self.prior == "mixture" else "standard", posterior, objective]
        return " ".join(filter(None, [*parts, "bound" * (self.kl == "bound")]))


def build(config: Config, data: Dataset) -> VAE:
    """The untrained pair."""
    pixels, size = data.train.images.shape[1], config.latent
    prior: nn.Module = StandardNormal(size)
    if config.prior == "mixture":
        prior = MixtureOfGaussians(size, config.components, config.weights == "learned", config.spread)
    decoder = mlp(size, config.hidden[::-1], pixels, layer=Dense)
    if config.posterior == "gaussian":
        posterior: nn.Module = GaussianPosterior(mlp(pixels, config.hidden, 2 * size, layer=Dense))
    else:
        outputs = config.posterior_components * (1 + 2 * size)
        net = mlp(pixels, config.hidden, outputs, layer=Dense)
        posterior = GaussianMixturePosterior(net, config.posterior_components)
    return VAE(prior, BernoulliLikelihood(decoder, mean=data.mean), posterior)


def check(config: Config) -> None:
    """Refuse flags that would change the name of the run and nothing else."""
    if config.kl == "sample":
        return
    if config.prior == "standard":
        raise SystemExit("--kl bound is for --prior mixture: the divergence from the standard prior is exact")
    if config.objective in ("iwelbo", "stratified-iwelbo"):
        raise SystemExit(f"--kl bound is not for --objective {config.objective}, which takes no divergence")
    if config.posterior == "mixture":
        raise SystemExit("--kl bound is for --posterior gaussian: of a mixture there is none")


def objective(config: Config) -> ELBO | IWELBO | StratifiedELBO | StratifiedIWELBO:
    """The estimator that the flags name."""
    if config.objective == "elbo":
        return ELBO(kl_fallback=config.kl, num_particles=config.particles, vectorize_particles=True)
    if config.objective == "stratified":
        return StratifiedELBO(kl_fallback=config.kl, num_particles=config.particles)
    return IWELBO(config.particles) if config.objective == "iwelbo" else StratifiedIWELBO(config.particles)


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser, made from parameters."""
    return partial(torch.optim.Adam, lr=config.learning_rate, fused=True)


def train(config: Config) -> experiment.Trained[experiment.Report]:
    """Train, evaluate, write results and figures."""
    check(config)
    return experiment.train(SYSTEM, config, experiment.report)


def main(config: Config) -> Iterator[str]:
    """Train and print one row of the table, or two."""
    trained = train(config)
    results = trained.report.results
    yield experiment.summary(config, results)
    if config.compare:
        folder = f"{config.folder}-standard"
        other = dataclasses.replace(config, prior="standard", kl="sample", run=folder, compare=False)
        reference = train(other)
        yield experiment.table({other.title: reference.report.results, config.title: results})
        if config.figures:
            draw_both(config, reference, trained)


def draw_both(config: Config, reference: experiment.Trained[Any], trained: experiment.Trained[Any]) -> None:
    """Draw samples from the standard prior and from that of the flags, side by side."""
    samples, data = [], trained.data
    for pair in (reference.pair, trained.pair):
        with fork_rng(next(pair.parameters()).device):
            torch.manual_seed(config.seed)
            rows = evenly_spaced(len(data.test), min(100, len(data.test)))
            samples.append(sample_means(pair, data.test.images[rows]))
    groups = {"standard normal": samples[0], f"{config.prior} prior": samples[1]}
    figure = plots.side_by_side(groups, data.image_shape)
    figure.savefig(config.folder / "figures" / "samples_of_both_priors.png")


SYSTEM = experiment.ImageSystem("gaussian_mixture_vae", Config, build, objective, optimizer, main)
