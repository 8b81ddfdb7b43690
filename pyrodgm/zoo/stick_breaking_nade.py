"""NADE and stick-breaking NADE on binary images.

NADE (Larochelle and Murray 2011) predicts each pixel from those before it. The stick-breaking form refines its hidden
units before each pixel by a number of steps that it weighs itself (docs/adaptive_computation.md). The likelihood of
NADE is exact; that of the other is importance-sampled pixel by pixel.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pyrodgm import experiment, plots
from pyrodgm.datasets import Dataset, evenly_spaced
from pyrodgm.infer import ELBO
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.models import NADE, StickBreakingNADE


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train NADE with or without refinement, evaluate it on the test set and draw from it."""

    num_samples: int = 100
    model: Literal["nade", "stick-breaking"] = "stick-breaking"
    """NADE itself, or with refinement weighed by stick-breaking."""
    hidden: int = 500
    """Hidden units."""
    max_steps: int = 3
    """Most steps of refinement, the first of them NADE's own."""
    concentration: float = 1.0
    """Of the prior of the stick weights: how many further steps cost nothing."""
    init: Literal["sum", "lstm"] = "sum"
    """State before each pixel: NADE's running sum, or an LSTM over the pixels in its place."""
    clip_grad_norm: float | None = None
    """Largest norm of the gradient."""

    @property
    def title(self) -> str:
        """Data set and model."""
        return f"{self.data} {self.model}{' lstm-init' if self.init == 'lstm' else ''}"


def build(config: Config, data: Dataset) -> NADE | StickBreakingNADE:
    """The untrained pair."""
    features = data.train.images.shape[1]
    if config.model == "nade":
        return NADE(features, config.hidden, init=config.init, mean=data.mean)
    return StickBreakingNADE(
        features,
        config.hidden,
        max_steps=config.max_steps,
        concentration=config.concentration,
        init=config.init,
        mean=data.mean,
    )


def measure(
    pair: NADE | StickBreakingNADE, x: Tensor, num_samples: int, seed: int
) -> tuple[dict[str, Any], Tensor | None]:
    """Likelihoods of images with their standard errors, and the divergence of each pixel."""

    def mean(values: Tensor) -> dict[str, float]:
        return {"mean": float(values.mean()), "standard_error": float(values.std() / math.sqrt(len(values)))}

    if isinstance(pair, NADE):
        return {"log_likelihood": mean(pair.log_likelihood(x))}, None
    found = pair.log_likelihood(x, num_samples=num_samples, seed=seed)
    one = pair.log_likelihood(x, num_samples=1, seed=seed)
    return {
        "log_likelihood": mean(found.log_likelihood),
        "ens. 1": mean(one.ensemble),
        f"ens. {num_samples}": mean(found.ensemble),
        "bound": mean(found.bound),
        "mean_step": float(found.mean_step.mean()),
        "divergence": float(found.divergence.sum()),
    }, found.divergence


def report(
    pair: NADE | StickBreakingNADE,
    data: Dataset,
    run: experiment.Run,
    *,
    num_samples: int,
    num_images: int | None,
    seed: int,
    figures: bool,
) -> str:
    """Measure, write results and figures; returns a table."""
    config, first = experiment.restore_config(Config, run), next(pair.parameters())
    rows = evenly_spaced(len(data.test), len(data.test) if num_images is None else num_images)
    x = data.test.images[rows].to(first.device, first.dtype)
    likelihoods, divergence = measure(pair, x, num_samples, seed)
    best = max(run.metrics, key=lambda row: -math.inf if math.isnan(row["valid_bound"]) else row["valid_bound"])
    results = {
        "arguments": run.arguments,
        "parameters": sum(p.numel() for p in pair.parameters()),
        "best_epoch": int(best["epoch"]),
        "valid_bound": best["valid_bound"],
        "seconds": sum(run.seconds),
        "num_images": len(rows),
        "num_samples": num_samples,
        "seed": seed,
        "test": likelihoods,
    }
    (run.path / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    if figures:
        write_figures(config.title, pair, data, divergence, run.path / "figures", seed)
    text = (
        f"{config.title}: {results['parameters']:,} parameters, best at epoch {results['best_epoch']} of "
        f"{len(run.metrics)}, {results['seconds']:.0f} s; {len(rows):,} test images, nats an image\n"
    )
    for name, value in likelihoods.items():
        shown = f"{value['mean']:.2f} ± {value['standard_error']:.2f}" if isinstance(value, dict) else f"{value:.3f}"
        text += f"{name:<16}{shown}\n"
    return f"{text}in {run.path}: weights, metrics.csv, results.json{', figures' if figures else ''}"


def write_figures(
    title: str, pair: NADE | StickBreakingNADE, data: Dataset, divergence: Tensor | None, folder: Path, seed: int
) -> None:
    """Samples, and the divergence of each pixel."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(seed)
    shape = data.image_shape
    plots.image_grid(pair.sample(100), shape, title=f"{title}: samples").savefig(folder / "samples.png")
    if divergence is not None:
        figure = plots.divergence_map(divergence, shape, title=f"{title}: divergence of the step weights")
        figure.savefig(folder / "divergence.png")


def objective(config: Config) -> ELBO:
    """The evidence lower bound, which is the log-likelihood of NADE."""
    return ELBO()


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser, made from parameters."""
    return partial(torch.optim.Adam, lr=config.learning_rate, fused=True)


def settings(config: Config, data: Dataset) -> dict[str, Any]:
    """The clipping of the gradient."""
    return {"clip_grad_norm": config.clip_grad_norm}


def main(config: Config) -> Iterator[str]:
    """Train and print likelihoods."""
    yield experiment.train(SYSTEM, config, report).report


SYSTEM = experiment.ImageSystem(
    "stick_breaking_nade", Config, build, objective, optimizer, main, settings, report=report
)
