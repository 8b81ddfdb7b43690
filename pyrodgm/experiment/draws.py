"""Results of adversarial systems: likelihoods where there are densities, and comparisons of draws."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from pyrodgm import plots
from pyrodgm.datasets import Dataset, evenly_spaced
from pyrodgm.distributions import NoDensityError
from pyrodgm.experiment.run import Run
from pyrodgm.infer import annealed_log_likelihood, knn_two_sample, precision_recall, sample, sample_means
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.infer.training.checkpoint import write_atomically
from pyrodgm.models import GAN
from pyrodgm.processes import first

CHAINS, TEMPERATURES = 16, 100  # of the annealing, where no budget is given
DRAWS, SHOWN = 1000, 100


@dataclass(frozen=True)
class DrawResults:
    """Results on test data; ``results.json`` holds these entries.

    Attributes:
        log_likelihood: Mean log p(x) of an image in nats by annealed importance sampling; None where prior or
            likelihood have no density.
        standard_error: Its standard error over the images.
        noise: Standard deviation of the Gaussian noise that the likelihood of a generator is stated with, or None.
        precision: Share of the draws that lie among test images, in [0, 1].
        recall: Share of test images that lie among the draws.
        accuracy: Share of both that nearest neighbours tell apart; 1/2 for equal distributions.
        num_images: Number of test images for the likelihood.
        num_draws: Number of draws and of test images for the comparisons.
        seed: Seed of the evaluation.
        seconds_per_epoch: Mean time of an epoch.
    """

    log_likelihood: float | None
    standard_error: float | None
    noise: float | None
    precision: float
    recall: float
    accuracy: float
    num_images: int
    num_draws: int
    seed: int
    seconds_per_epoch: float

    def __str__(self) -> str:
        likelihood = "log p(x): prior or likelihood have draws alone"
        if self.log_likelihood is not None:
            noise = "" if self.noise is None else f", noise {self.noise:g}"
            likelihood = f"log p(x) = {self.log_likelihood:.2f} ± {self.standard_error:.2f} nats{noise}"
        return (
            f"{likelihood}; precision {self.precision:.3f}, recall {self.recall:.3f}, "
            f"nearest-neighbour accuracy {self.accuracy:.3f} ({self.num_draws} draws)"
        )


def draws_report(
    pair: nn.Module,
    data: Dataset,
    run: Run,
    *,
    num_samples: int | None = None,
    num_images: int | None = None,
    seed: int = 0,
    figures: bool = True,
) -> str:
    """Evaluate the pair of a run, write ``results.json`` and, if wanted, ``figures/``; returns the text to print.

    The likelihood of a :class:`~pyrodgm.models.GAN` is that with the run's ``noise``.

    Args:
        pair: The trained pair.
        data: The data it was trained on.
        run: Its run.
        num_samples: Evaluations of the decoder per test image that the annealing may take.
        num_images: Number of test images for the likelihood, evenly spread; None: all.
        seed: Seed of draws and chains.
        figures: Whether to draw figures.
    """
    like = next(pair.parameters())
    noise: float | None = None
    judged = pair
    if isinstance(pair, GAN) and "noise" in run.arguments:
        noise = float(run.arguments["noise"])
        judged = pair.with_density(noise)
    count = len(data.test) if num_images is None else num_images
    x = data.test.images[evenly_spaced(len(data.test), count)]
    temperatures = TEMPERATURES if num_samples is None else max(1, num_samples // (9 * CHAINS))
    value: float | None = None
    error: float | None = None
    try:
        found = annealed_log_likelihood(judged, x, chains=CHAINS, temperatures=temperatures, seed=seed)
        value, error = found.mean, found.standard_error
    except NoDensityError:
        pass
    number = min(DRAWS, len(data.test))
    real = data.test.images[evenly_spaced(len(data.test), number)].to(like)
    with fork_rng(like.device):
        torch.manual_seed(seed)
        drawn = sample(pair, number)
        shown = sample_means(pair, SHOWN)
    cover, two = precision_recall(real, drawn), knn_two_sample(real, drawn)
    seconds = sum(run.seconds) / max(len(run.seconds), 1)
    results = DrawResults(
        value, error, noise, cover.precision, cover.recall, two.accuracy, len(x), number, seed, seconds
    )
    first(partial(_write, results, data, run, shown if figures else None))
    return f"{run.path.name}: {results}\nin {run.path}: weights, metrics.csv, results.json"


def _write(results: DrawResults, data: Dataset, run: Run, shown: Any) -> None:
    text = json.dumps(asdict(results), indent=2, allow_nan=False)
    write_atomically(run.path / "results.json", lambda file: file.write_text(text + "\n"))
    if shown is None:
        return
    folder = run.path / "figures"
    folder.mkdir(exist_ok=True)
    images = shown.cpu().clamp(0.0, 1.0)
    plots.image_grid(images, data.image_shape, title=f"{data.name}: draws").savefig(folder / "samples.png")
    plots.training_curves(run.metrics, title=f"{data.name}: training").savefig(folder / "training.png")
