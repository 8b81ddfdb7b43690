"""NADE and stick-breaking NADE on binary images.

NADE (Larochelle and Murray 2011) predicts each pixel from those before it. The stick-breaking form refines its hidden
units before each pixel by a number of steps that it weighs itself (docs/adaptive_computation.md). The likelihood of
NADE is exact; that of the other is importance-sampled pixel by pixel.

    python examples/stick_breaking_nade.py --model nade --data static_mnist
    python examples/stick_breaking_nade.py --model stick-breaking --data static_mnist
"""

import json
import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import torch
import tyro
from torch import Tensor

from pyrodgm import experiment, plots
from pyrodgm.datasets import Dataset
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


def measure(config: Config, pair: NADE | StickBreakingNADE, x: Tensor) -> tuple[dict[str, Any], Tensor | None]:
    """Likelihoods of images with their standard errors, and the divergence of each pixel."""

    def mean(values: Tensor) -> dict[str, float]:
        return {"mean": float(values.mean()), "standard_error": float(values.std() / math.sqrt(len(values)))}

    if isinstance(pair, NADE):
        return {"log_likelihood": mean(pair.log_likelihood(x))}, None
    found = pair.log_likelihood(x, num_samples=config.num_samples, seed=config.seed)
    one = pair.log_likelihood(x, num_samples=1, seed=config.seed)
    return {
        "log_likelihood": mean(found.log_likelihood),
        "ens. 1": mean(one.ensemble),
        f"ens. {config.num_samples}": mean(found.ensemble),
        "bound": mean(found.bound),
        "mean_step": float(found.mean_step.mean()),
        "divergence": float(found.divergence.sum()),
    }, found.divergence


def train(config: Config) -> str:
    """Train, measure, write results and figures; returns a table."""

    def report(pair: NADE | StickBreakingNADE, data: Dataset, run: experiment.Run, **_: Any) -> str:
        first = next(pair.parameters())
        rows = experiment.spread(len(data.test), config.num_images or len(data.test))
        likelihoods, divergence = measure(config, pair, data.test.images[rows].to(first.device, first.dtype))
        best = max(run.metrics, key=lambda row: -math.inf if math.isnan(row["valid_bound"]) else row["valid_bound"])
        results = {
            "arguments": asdict(config),
            "parameters": sum(p.numel() for p in pair.parameters()),
            "best_epoch": int(best["epoch"]),
            "valid_bound": best["valid_bound"],
            "seconds": sum(run.seconds),
            "num_images": len(rows),
            "test": likelihoods,
        }
        (run.path / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        if config.figures:
            write_figures(config, pair, data, divergence)
        text = (
            f"{config.title}: {results['parameters']:,} parameters, best at epoch {results['best_epoch']} of "
            f"{len(run.metrics)}, {results['seconds']:.0f} s; {len(rows):,} test images, nats an image\n"
        )
        for name, value in likelihoods.items():
            shown = (
                f"{value['mean']:.2f} ± {value['standard_error']:.2f}" if isinstance(value, dict) else f"{value:.3f}"
            )
            text += f"{name:<16}{shown}\n"
        return f"{text}in {run.path}: weights, metrics.csv, results.json{', figures' if config.figures else ''}"

    return experiment.train(
        "stick_breaking_nade",
        config,
        build,
        optimizer=partial(torch.optim.Adam, lr=config.learning_rate, fused=True),
        clip_grad_norm=config.clip_grad_norm,
        reporter=report,
    )


def main(config: Config) -> None:
    """Train and print likelihoods."""
    print(train(config))


def write_figures(config: Config, pair: NADE | StickBreakingNADE, data: Dataset, divergence: Tensor | None) -> None:
    """Samples, and the divergence of each pixel."""
    folder = config.folder / "figures"
    folder.mkdir(exist_ok=True)
    torch.manual_seed(config.seed)
    title = f"{config.title}: samples"
    plots.image_grid(pair.sample(100), data.image_shape, title=title).savefig(folder / "samples.png")
    if divergence is not None:
        title = f"{config.title}: divergence of the step weights"
        plots.divergence_map(divergence, data.image_shape, title=title).savefig(folder / "divergence.png")


if __name__ == "__main__":
    main(tyro.cli(Config))
