"""Training of a published system on images, from its flags to its report."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from pyrodgm.datasets import Dataset
from pyrodgm.experiment.config import TrainingConfig
from pyrodgm.experiment.data import check_evaluation
from pyrodgm.experiment.results import Results
from pyrodgm.experiment.run import check_resumable, describe, read_run
from pyrodgm.experiment.system import ImageSystem
from pyrodgm.experiment.text import knn_summary, table
from pyrodgm.infer import FitSettings, fit
from pyrodgm.infer.tracing.contexts import flushing_denormals, matmul_precision

C = TypeVar("C", bound=TrainingConfig)
R = TypeVar("R")

# Flags that may change when a run is resumed: its length, its place, and the evaluation after it.
EVALUATION = ("num_samples", "num_images", "encoder_samples", "figures")
FREE = ("epochs", "valid_every", "root", "device", "compile", "run", "resume", *EVALUATION)


@dataclass(frozen=True)
class Trained(Generic[R]):
    """A pair after training.

    Attributes:
        pair: The pair, with its best weights.
        data: The data it was trained on.
        report: Result of the function that evaluated it.
    """

    pair: nn.Module
    data: Dataset
    report: R


def train(system: ImageSystem[C], config: C, report: Callable[..., R]) -> Trained[R]:
    """Load the data, build the pair, train it or resume its run, and evaluate it.

    Args:
        system: The published system.
        config: Its flags.
        report: Evaluates the pair and writes results and figures, called as :func:`pyrodgm.experiment.report` is.

    Raises:
        ValueError: If the run folder holds a run with other flags, or the numbers for the evaluation are out of range.
    """
    with flushing_denormals():  # before PyTorch starts its threads
        check_resumable(config.folder, system.name, config, FREE)
        data = system.read_data(config)
        check_evaluation(data, config.num_samples, config.num_images)
        torch.manual_seed(config.seed)
        pair = system.build(config, data)
        with matmul_precision(config.matmul):
            fit(
                pair,
                data,
                **fit_options(system, config),
                seed=config.seed,
                run_dir=config.folder,
                resume=config.resume,
                settings=settings(system, config, data),
            )
        return Trained(pair, data, report(pair, data, read_run(config.folder), **report_options(config)))


def fit_options(system: ImageSystem[C], config: C) -> dict[str, Any]:
    """Options of training that runs with several seeds share, by name."""
    return {
        "epochs": config.epochs,
        "objective": system.objective(config),
        "optimizer": system.optimizer(config),
        "batch_size": config.batch_size,
        "kl_warmup": config.kl_warmup,
        "patience": config.patience,
    }


def report_options(config: TrainingConfig) -> dict[str, Any]:
    """What the flags say of the evaluation, by name."""
    options = {name: getattr(config, name) for name in ("num_samples", "num_images", "seed", "figures")}
    return options | ({"encoder_samples": config.encoder_samples} if config.encoder_samples else {})


def settings(system: ImageSystem[C], config: C, data: Dataset) -> FitSettings:
    """Settings of training: those of all systems, and those of this one."""
    return FitSettings(
        valid_every=config.valid_every,
        compile=config.compile,
        device=config.device,
        config=describe(system.name, config),
        **system.settings(config, data),
    )


def summary(config: TrainingConfig, results: Results) -> str:
    """The row of the table of a run, and the place of its files."""
    files = f"weights, metrics.csv, results.json{', figures' if config.figures else ''}"
    return f"{table({config.title: results})}{knn_summary(results)}\nin {config.folder}: {files}"
