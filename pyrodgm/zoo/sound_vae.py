"""A VAE of sounds, raw waveforms, under the standard normal, a mixture or a VampPrior.

Kingma and Welling (2014), arXiv 1312.6114, with the priors of Tomczak and Welling (2017), arXiv 1705.07120. The
likelihood is Gaussian around a decoded waveform, with one learned scale; pseudo-inputs are waveforms, which can be
heard. The data are plucked strings of 25 pitches: a mixture of clusters that the standard normal has to join.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from pyrodgm import experiment, plots
from pyrodgm.datasets import Dataset, evenly_spaced
from pyrodgm.datasets.plucked_strings import RATE
from pyrodgm.infer import ELBO, reconstruct, sample_means
from pyrodgm.infer.tracing.contexts import evaluating, fork_rng
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.likelihoods import GaussianLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import VampPrior
from pyrodgm.zoo.pairs.named_prior import named_prior

SHOWN = 6  # sounds in each row of the figures


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train a VAE of sounds, evaluate it on the test set, draw and write sounds."""

    data: str = "plucked_strings"
    epochs: int = 200
    num_images: int | None = 100
    prior: Literal["standard", "mixture", "vampprior"] = "vampprior"
    """Prior of the latents."""
    components: int = 100
    """Components of a mixture, pseudo-inputs of a VampPrior, which start at training sounds."""
    latent: int = 16
    """Number of latent dimensions."""
    hidden: tuple[int, ...] = (300, 300)
    """Sizes of the gated hidden layers of encoder and, in reverse, decoder."""

    @property
    def title(self) -> str:
        """Data set and prior."""
        return f"{self.data} {self.prior}"


def build(config: Config, data: Dataset) -> VAE:
    """The untrained pair."""
    length = data.train.images.shape[1]
    posterior = GaussianPosterior(mlp(length, config.hidden, 2 * config.latent))
    vampprior = partial(VampPrior.from_data, posterior, config.components, data.train.images)
    prior = named_prior(config.prior, config.latent, config.components, vampprior)
    decoder = mlp(config.latent, config.hidden[::-1], length)
    return VAE(prior, GaussianLikelihood(decoder, scale=0.1, learn_scale=True), posterior)


def objective(config: Config) -> ELBO:
    """The evidence lower bound."""
    return ELBO()


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser, made from parameters."""
    return partial(torch.optim.Adam, lr=config.learning_rate, fused=True)


def sounds(pair: VAE, data: Dataset, seed: int) -> dict[str, Tensor]:
    """Test sounds, their reconstructions, samples, and pseudo-inputs with a sound grown from each, in [-1, 1]."""
    first = next(pair.parameters())
    x = data.test.images[evenly_spaced(len(data.test), SHOWN)].to(first.device, first.dtype)
    with fork_rng(first.device), evaluating(pair), torch.no_grad():
        torch.manual_seed(seed)
        found = {"test": x, "reconstructed": reconstruct(pair, x), "samples": sample_means(pair, x)}
        if isinstance(pair.prior, VampPrior):
            inputs = pair.prior.pseudo_inputs
            chosen = inputs[torch.arange(SHOWN) % len(inputs)]
            grown = pair.likelihood(pair.posterior(chosen).sample()).mean
            found |= {"pseudo-inputs": chosen, "grown": grown}
    return {name: 2 * values.cpu() - 1 for name, values in found.items()}


def report(
    pair: VAE, data: Dataset, run: experiment.Run, *, seed: int = 0, figures: bool = True, **options: Any
) -> str:
    """Evaluate, write results; and figures and WAV files of the :func:`sounds`."""
    text = experiment.text_report(pair, data, run, seed=seed, figures=False, **options)
    if figures:
        folder, groups = run.path / "figures", sounds(pair, data, seed)
        folder.mkdir(exist_ok=True)
        plots.waveforms(groups, RATE, title=f"{data.name}: waveforms").savefig(folder / "waveforms.png")
        plots.spectrograms(groups, RATE, title=f"{data.name}: spectra in kHz").savefig(folder / "spectrograms.png")
        for name, values in groups.items():
            plots.write_wav(folder / f"{name}.wav", values, RATE)
    return text


def main(config: Config) -> Iterator[str]:
    """Train, evaluate and print one row of the table."""
    yield experiment.train(SYSTEM, config, report).report


SYSTEM = experiment.ImageSystem("sound_vae", Config, build, objective, optimizer, main, report=report)
