"""The importance-weighted autoencoder with one and two stochastic layers, and the VAE beside it.

Burda, Grosse and Salakhutdinov (2015), "Importance weighted autoencoders", arXiv 1509.00519. The defaults are the
published networks and settings, for 3,280 epochs; `--schedule-epochs` spreads the stages of the learning rate over
fewer.

`--snr-draws` prints the signal-to-noise ratios of the gradients of the trained model, by the plain, the
sticking-the-landing and the doubly reparametrised estimator (Rainforth et al. 2018, arXiv 1802.04537).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset, evenly_spaced
from pyrodgm.infer import ELBO, IWELBO, BurdaSchedule, gradient_snr
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE, BottomUpHVAE
from pyrodgm.nn import Dense, mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal

WIDE = (-12.0, 4.0)  # log-variances: the published networks do not bound them
SNR_PARTICLES, SNR_IMAGES = (1, 5, 50), 20


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train an importance-weighted autoencoder or a VAE, evaluate it on the test set and write figures."""

    RENAMED: ClassVar[dict[str, str]] = {"latents": "latent"}

    data: str = "mnist"
    batch_size: int = 20
    epochs: int = 3280
    layers: Literal[1, 2] = 1
    """Stochastic layers."""
    latent: tuple[int, int] = (100, 50)
    """Latent dimensions of the lower layer of two, and of the upper or only one."""
    hidden: tuple[int, int] = (200, 100)
    """Sizes of the two tanh layers between the data and the latents, and of those between two layers of latents."""
    objective: Literal["iwae", "vae"] = "iwae"
    """Importance-weighted bound, or the average of as many samples' evidence bounds."""
    particles: int = 50
    """Samples of the latents an image, k."""
    gradient: Literal["reparam", "stl", "dreg"] = "reparam"
    """Gradient of the importance-weighted bound: plain, sticking the landing, or doubly reparametrised."""
    schedule: Literal["burda", "constant"] = "burda"
    """Learning rate: 3^i epochs at 10^(-i/7) times it, i = 0 to 7; or constant."""
    schedule_epochs: int = 3280
    """Epochs over which these stages are spread, in proportion."""
    snr_draws: int = 0
    """Gradients that are drawn for a table of signal-to-noise ratios; 0: no table."""

    @property
    def title(self) -> str:
        """Data set, layers, objective, and what else is not as published."""
        gradient = "" if self.gradient == "reparam" or self.objective == "vae" else self.gradient
        name = f"{self.objective}{self.particles}"
        return " ".join(filter(None, [self.data, f"{self.layers}-layer", name, gradient]))


def build(config: Config, data: Dataset) -> VAE | BottomUpHVAE:
    """The untrained pair, its weights drawn after Glorot and Bengio."""
    pixels, (lower, upper), (outer, inner) = data.train.images.shape[1], config.latent, config.hidden
    size = upper if config.layers == 1 else lower
    posterior = _gaussian(pixels, outer, size)
    likelihood = BernoulliLikelihood(_tanh(size, outer, pixels), mean=data.mean)
    prior = StandardNormal(upper)
    if config.layers == 1:
        return VAE(prior, likelihood, posterior)
    return BottomUpHVAE(prior, _gaussian(upper, inner, lower), likelihood, posterior, _gaussian(lower, inner, upper))


def _gaussian(in_features: int, hidden: int, size: int) -> GaussianPosterior:
    return GaussianPosterior(_tanh(in_features, hidden, 2 * size), WIDE)


def _tanh(in_features: int, hidden: int, out_features: int) -> nn.Sequential:
    net = mlp(in_features, [hidden, hidden], out_features, layer=partial(Dense, activation=nn.Tanh))
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    return net


def snr_table(pair: nn.Module, x: Tensor, num_draws: int, seed: int) -> str:
    """Signal-to-noise ratios of the gradients of each part of the pair, by estimator and number of samples."""
    rows = {}
    for gradient in ("reparam", "stl", "dreg"):
        for k in SNR_PARTICLES:
            rows[f"{gradient} k={k}"] = gradient_snr(pair, IWELBO(k, gradient=gradient), x, num_draws, seed)
    parts = list(next(iter(rows.values())))
    lines = ["gradient SNR   " + "  ".join(f"{part:>17}" for part in parts)]
    return "\n".join(lines + [f"{n:<15}" + "  ".join(f"{row[p]:17.3f}" for p in parts) for n, row in rows.items()])


def objective(config: Config) -> ELBO | IWELBO:
    """The estimator that the flags name."""
    if config.objective == "vae":
        return ELBO(num_particles=config.particles, vectorize_particles=True)
    return IWELBO(config.particles, gradient=config.gradient)


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser, made from parameters."""
    return partial(torch.optim.Adam, lr=config.learning_rate, eps=1e-4, fused=True)


def settings(config: Config, data: Dataset) -> dict[str, Any]:
    """The schedule of the learning rate."""
    schedule = partial(BurdaSchedule, epochs=config.schedule_epochs) if config.schedule == "burda" else None
    return {"lr_scheduler": schedule}


def main(config: Config) -> Iterator[str]:
    """Train and print one row of the table, and that of signal-to-noise ratios."""
    trained = experiment.train(SYSTEM, config, experiment.report)
    yield experiment.summary(config, trained.report.results)
    if config.snr_draws:
        first = next(trained.pair.parameters())
        images = trained.data.test.images  # of all classes: some test sets are sorted by class
        x = images[evenly_spaced(len(images), min(SNR_IMAGES, len(images)))].to(first.device, first.dtype)
        yield snr_table(trained.pair, x, config.snr_draws, config.seed)


SYSTEM = experiment.ImageSystem("iwae", Config, build, objective, optimizer, main, settings)
