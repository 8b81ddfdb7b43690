"""Discrete variational autoencoders with Boltzmann priors: DVAE, DVAE++ and DVAE#.

Rolfe (2017), arXiv 1609.02200; Vahdat et al. (2018), arXiv 1802.04920; Vahdat et al. (2018), arXiv 1805.07445. The
defaults are the published settings; the stages of the learning rate and of the KL weight are shares of the length of
the run. A pair is evaluated with its bits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, get_args

import torch

from pyrodgm import experiment
from pyrodgm.datasets import Dataset, evenly_spaced
from pyrodgm.distributions import bits_divergence
from pyrodgm.infer import ELBO, IWELBO, PiecewiseConstant, decay_groups, log_likelihood
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.models import DVAE
from pyrodgm.zoo.pairs import STRUCTURES, Method, Structure, discrete_vae

# The inverse temperatures of the published runs, by data set, by structure, in the order of Method without gumbolt.
BETAS = {
    "mnist": {
        "1-layer-lin": (5, 12, 40, 40, 40, 12, 40, 40),
        "1-layer-nonlin": (5, 14, 30, 30, 30, 12, 30, 40),
        "2-layer-nonlin": (4, 10, 30, 30, 25, 10, 16, 30),
        "4-layer-nonlin": (4, 10, 30, 30, 25, 10, 16, 30),
    },
    "omniglot": {
        "1-layer-lin": (4, 14, 40, 40, 40, 12, 40, 40),
        "1-layer-nonlin": (4, 12, 40, 30, 25, 10, 16, 30),
        "2-layer-nonlin": (4, 10, 30, 25, 25, 8, 16, 20),
        "4-layer-nonlin": (4, 10, 30, 25, 25, 8, 16, 20),
    },
}
GUMBOLT_BETA = 10.0  # that of the Concrete runs beside undirected posteriors, Vahdat et al. (2019), arXiv 1901.03440
PUBLISHED = PiecewiseConstant((0.02, 0.6, 0.75, 0.95), (0.1, 1.0, 1 / 3, 0.1, 1 / 33))


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train a discrete variational autoencoder, evaluate it on the test set and write figures."""

    RENAMED: ClassVar[dict[str, str]] = {"dataset": "data", "baseline": "model", "k": "particles"}

    epochs: int = 2000
    warmup: float | None = None  # type: ignore[assignment]
    """Epochs over which the weight of the KL term rises from 0 to 1; None: the first 30 % of the run."""
    learning_rate: float = 3e-3
    num_samples: int = 4000
    model: Method = "dvaes_power"
    """The method: smoothing and bound; gumbolt is a rival that relaxes bits by Concrete draws."""
    struct: Literal["1-layer-lin", "1-layer-nonlin", "2-layer-nonlin", "4-layer-nonlin"] = "1-layer-nonlin"
    """The network: groups of latents, and two hidden layers (nonlin) or none (lin)."""
    units: int | None = None
    """Latents in each group; None: as the structure has them."""
    states: int | None = None
    """States of each latent, at least 2, a machine of Potts units their prior: for dvaes_gauss, dvaes_exp, dvaes_unexp,
    dvaes_power and gumbolt; None: bits."""
    hidden: tuple[int, ...] | None = None
    """Hidden layers of each encoder and the decoder; None: as the structure has them."""
    particles: int = 1
    """Samples: of the importance-weighted bound for dvaes_* and gumbolt, to average the bound over for the others."""
    beta: float | None = None
    """Inverse temperature of the smoothing; None: the published one."""
    sampler: Literal["pcd", "pa", "pt", "exact"] = "pa"
    """What gives the gradient of log Z: persistent chains, population annealing, parallel tempering, or an exact sum
    (small machines)."""
    chains: int = 1000
    """Chains, ladders of chains, or members of the population."""
    sweeps: int = 40
    """Gibbs sweeps, or rounds of parallel tempering, per step."""
    schedule: Literal["published", "constant"] = "published"
    """Learning rate: times 1/10 for the first 2 % of the steps, 1 to 60 %, 1/3 to 75 %, 1/10 to 95 %, then 1/33."""
    weight_decay: float = 1e-4
    """Factor of half the squared norm of kernels, scales of batch normalisation and couplings."""
    valid_images: int | None = None
    """Number of validation images, evenly spread, that choose the best weights by 100 samples each; None: all."""

    @property
    def title(self) -> str:
        """Data set, method, structure and number of samples."""
        return f"{self.data} {self.model} {self.struct} k{self.particles}"

    @property
    def kl_warmup(self) -> float:
        """Epochs of warm-up."""
        return 0.3 * self.epochs if self.warmup is None else self.warmup


def build(config: Config, data: Dataset) -> DVAE:
    """The untrained pair."""
    published = STRUCTURES[config.struct]
    structure = Structure(
        published.groups,
        published.units if config.units is None else config.units,
        published.hidden if config.hidden is None else config.hidden,
    )
    machine = {"sampler": config.sampler, "num_chains": config.chains, "num_sweeps": config.sweeps}
    return discrete_vae(config.model, structure, data.mean, _beta(config), config.states, **machine)


def objective(config: Config) -> ELBO | IWELBO:
    """The bound of the method."""
    if config.model.startswith("dvaes") or config.model == "gumbolt":
        return IWELBO(config.particles)
    return ELBO(
        num_particles=config.particles, vectorize_particles=True, max_plate_nesting=1, divergence=bits_divergence
    )


def score(pair: DVAE, data: Dataset, num_images: int | None = None) -> float:
    """Mean log p(x) of validation images by 100 importance samples of the bits each."""
    images = data.valid.images
    rows = evenly_spaced(len(images), len(images) if num_images is None else min(num_images, len(images)))
    return log_likelihood(pair.discrete(), images[rows], 100, compile="traced", progress=False).mean


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser, made from groups of parameters."""
    return partial(torch.optim.Adam, lr=config.learning_rate, eps=1e-3, fused=True)


def settings(config: Config, data: Dataset) -> dict[str, Any]:
    """Weight decay, schedule, and the score that chooses the weights."""
    return {
        "parameter_groups": partial(decay_groups, weight_decay=config.weight_decay),
        "lr_schedule": PUBLISHED if config.schedule == "published" else None,
        "valid_score": partial(score, num_images=config.valid_images),
    }


def main(config: Config) -> Iterator[str]:
    """Train and print one row of the table."""
    yield experiment.summary(config, experiment.train(SYSTEM, config, experiment.report).report.results)


def _beta(config: Config) -> float:
    if config.beta is not None:
        return config.beta
    if config.model == "gumbolt":
        return GUMBOLT_BETA
    family = "omniglot" if config.data.startswith("omniglot") else "mnist"
    return float(BETAS[family][config.struct][get_args(Method).index(config.model)])


SYSTEM = experiment.ImageSystem("dvae", Config, build, objective, optimizer, main, settings)
