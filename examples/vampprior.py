"""One-layer VAE with a standard-normal, a mixture-of-Gaussians or a VampPrior prior.

Tomczak and Welling (2017), "VAE with a VampPrior", arXiv 1705.07120. The defaults are the published settings; one
command trains a model, evaluates it on the test set and writes one row of the table:

    python examples/vampprior.py --data static_mnist --prior vampprior
    python examples/evaluate.py runs/static_mnist-vampprior-14
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import nn

from pyrodgm import datasets, experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import AdamNormGrad, LogLikelihood, fit
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import MixtureOfGaussians, StandardNormal, VampPrior

# What may change when a run goes on: how long, where, and what is done with it afterwards.
FREE = ("epochs", "root", "device", "run", "resume", "num_samples", "num_images", "figures")


@dataclass(frozen=True)
class Config:
    """Train a VAE, evaluate it on the test set and write figures."""

    prior: Literal["standard", "mixture", "vampprior", "vampprior-data"] = "vampprior"
    """Prior of the latents; vampprior-data keeps random training images as its pseudo-inputs."""
    components: int = 500
    """Components of a mixture, pseudo-inputs of a VampPrior."""
    pseudo_inputs: Literal["mean", "images"] = "mean"
    """Where trained pseudo-inputs start: around the mean training image, or at random training images."""
    pseudo_std: float = 0.01
    """Standard deviation of the noise on that start."""
    data: str = "static_mnist"
    """Data set: digits (comes with scikit-learn), mnist or static_mnist."""
    root: str | None = None
    """Folder of the data; by default $PYRODGM_DATA, or else a cache folder."""
    latent: int = 40
    """Number of latent dimensions."""
    hidden: tuple[int, ...] = (300, 300)
    """Sizes of the gated hidden layers of encoder and, in reverse, decoder."""
    batch_size: int = 100
    """Images a step."""
    epochs: int = 2000
    """Most passes over the training images."""
    warmup: float = 100.0
    """Epochs over which the weight of the KL term rises from 0 to 1."""
    patience: int | None = 50
    """Epochs after the warm-up without a better validation bound before training stops; None: no early stopping."""
    optimizer: Literal["adam-norm-grad", "adam"] = "adam-norm-grad"
    """Adam on normalised gradients, as published, or plain Adam."""
    learning_rate: float = 5e-4
    """Learning rate."""
    num_samples: int = 5000
    """Importance samples a test image."""
    num_images: int | None = None
    """Number of test images, evenly spread over the test set; None: all."""
    device: str = "cpu"
    """Where to train, as PyTorch calls it: cpu, cuda, cuda:1."""
    seed: int = 14
    """Seed of initialisation, training and evaluation."""
    run: str | None = None
    """Run folder; by default runs/DATA-PRIOR-SEED."""
    resume: bool = False
    """Go on with the run in that folder."""
    figures: bool = True
    """Write figures into the run folder."""


def build(config: Config, data: Dataset) -> VAE:
    """The untrained pair."""
    pixels = data.train.images.shape[1]
    posterior = GaussianPosterior(mlp(pixels, config.hidden, 2 * config.latent))
    likelihood = BernoulliLikelihood(mlp(config.latent, config.hidden[::-1], pixels))
    return VAE(_prior(config, data, posterior), likelihood, posterior)


def _prior(config: Config, data: Dataset, posterior: GaussianPosterior) -> nn.Module:
    if config.prior == "standard":
        return StandardNormal(config.latent)
    if config.prior == "mixture":
        return MixtureOfGaussians(config.latent, config.components)
    if config.prior == "vampprior" and config.pseudo_inputs == "mean":
        return VampPrior.around_mean(posterior, config.components, data.mean, config.pseudo_std)
    images, trainable = data.binarize(data.train.images), config.prior == "vampprior"
    return VampPrior.from_data(posterior, config.components, images, config.pseudo_std, trainable)


def train(config: Config) -> tuple[experiment.Results, LogLikelihood]:
    """Train, evaluate, write results and figures."""
    path = run_folder(config)
    experiment.check_resumable(path, "vampprior", config, FREE)
    data = datasets.load(config.data, config.root)
    torch.manual_seed(config.seed)
    pair = build(config, data)
    optimizer = AdamNormGrad if config.optimizer == "adam-norm-grad" else torch.optim.Adam
    fit(
        pair,
        data,
        epochs=config.epochs,
        optimizer=partial(optimizer, lr=config.learning_rate),
        batch_size=config.batch_size,
        kl_warmup=config.warmup,
        patience=config.patience,
        device=config.device,
        seed=config.seed,
        run_dir=path,
        resume=config.resume,
        config=experiment.describe("vampprior", config),
    )
    return experiment.report(
        pair,
        data,
        experiment.read_run(path),
        num_samples=config.num_samples,
        num_images=config.num_images,
        seed=config.seed,
        figures=config.figures,
    )


def run_folder(config: Config) -> Path:
    """Where the run is kept."""
    return Path(config.run or f"runs/{config.data}-{config.prior}-{config.seed}")


def main(config: Config) -> None:
    """Train and print one row of the table."""
    results, _ = train(config)
    print(experiment.table({f"{config.data} {config.prior}": results}))
    print(f"in {run_folder(config)}: weights, metrics.csv, results.json{', figures' if config.figures else ''}")


if __name__ == "__main__":
    main(tyro.cli(Config))
