"""What the command lines of all examples that train on images share, and what they do with it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pyrodgm import datasets
from pyrodgm.datasets import Dataset, Split
from pyrodgm.experiment.report import report
from pyrodgm.experiment.results import Results, knn_summary, table
from pyrodgm.experiment.run import check_resumable, describe, read_run
from pyrodgm.infer import LogLikelihood, fit
from pyrodgm.infer.tracing.contexts import MatmulPrecision, flushing_denormals, matmul_precision
from pyrodgm.infer.training.settings import fit_arguments
from pyrodgm.infer.training.step import Compile

# What may change when a run goes on: how long, where, and what is done with it afterwards.
FREE = ("epochs", "valid_every", "root", "device", "compile", "run", "resume", "num_samples", "num_images", "figures")


@dataclass(frozen=True)
class TrainingConfig:
    """Flags of an example that trains a pair on images; an example's own ``Config`` adds what is its own to it."""

    data: str = "static_mnist"
    """Data set, as pyrodgm.datasets.load calls it: digits (comes with scikit-learn), static_mnist, mnist, ..."""
    root: str | None = None
    """Folder of the data; by default $PYRODGM_DATA, or else a cache folder."""
    train_images: int | None = None
    """Number of training images, the first ones; None: all."""
    batch_size: int = 100
    """Images a step."""
    epochs: int = 100
    """Most passes over the training images."""
    warmup: float = 0.0
    """Epochs over which the weight of the KL term rises from 0 to 1."""
    patience: int | None = None
    """Epochs after the warm-up without a better validation bound before training stops; None: no early stopping."""
    valid_every: int = 1
    """Epochs from one validation to the next."""
    learning_rate: float = 1e-3
    """Learning rate."""
    num_samples: int = 5000
    """Importance samples a test image."""
    num_images: int | None = None
    """Number of test images, evenly spread over the test set; None: all."""
    device: str = "cpu"
    """Where to train, as PyTorch calls it: cpu, cuda, cuda:1."""
    compile: Compile = "auto"
    """How a training step runs; auto: the fastest way that the length of the run pays for."""
    matmul: MatmulPrecision = "highest"
    """Precision of matrix products in training: medium lets processors that can do so multiply in bfloat16, high and
    medium let CUDA devices multiply in TF32. Evaluation always has the highest."""
    seed: int = 0
    """Seed of initialisation, training and evaluation."""
    run: str | None = None
    """Run folder; by default one below runs/ with the name of what is trained."""
    resume: bool = False
    """Go on with the run in that folder."""
    figures: bool = True
    """Write figures into the run folder."""

    @property
    def title(self) -> str:
        """What is trained, in words that tell one row of a table from another."""
        return self.data

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.run or f"runs/{self.title.replace(' ', '-')}-{self.seed}")


def train(
    example: str,
    config: TrainingConfig,
    build: Callable[[Any, Dataset], nn.Module],
    *,
    load: Callable[[str, str | None], Dataset] = datasets.load,
    reporter: Callable[..., tuple[Results, LogLikelihood]] = report,
    **fit_options: Any,
) -> tuple[Results, LogLikelihood]:
    """Load the data, build the pair, train it or go on, evaluate it, write results and figures.

    Args:
        example: Name of the example, as of its file.
        config: Its flags.
        build: Its ``build(config, data)``, which returns the untrained pair; the seed is set before.
        load: Reads the data, called with ``config.data`` and ``config.root``.
        reporter: What evaluates and draws in place of :func:`report`.
        fit_options: Further options of :func:`pyrodgm.infer.fit` and of its settings, such as ``optimizer`` and
            ``clip_grad_norm``; they win over those that are taken from ``config``.

    Returns:
        The results, and the log-likelihood of each test image.

    Raises:
        ValueError: If the run folder holds a run with other flags, or the numbers for the evaluation are out of range.
    """
    with flushing_denormals():  # before PyTorch starts its threads
        check_resumable(config.folder, example, config, FREE)
        data = load_data(config, load)
        check_evaluation(data, config.num_samples, config.num_images)
        torch.manual_seed(config.seed)
        pair = build(config, data)
        options = {
            "epochs": config.epochs,
            "batch_size": config.batch_size,
            "kl_warmup": config.warmup,
            "patience": config.patience,
            "valid_every": config.valid_every,
            "compile": config.compile,
            "device": config.device,
            "seed": config.seed,
            "run_dir": config.folder,
            "resume": config.resume,
            "config": describe(example, config),
        }
        with matmul_precision(config.matmul):
            fit(pair, data, **fit_arguments(**{**options, **fit_options}))
        return reporter(
            pair,
            data,
            read_run(config.folder),
            num_samples=config.num_samples,
            num_images=config.num_images,
            seed=config.seed,
            figures=config.figures,
        )


def load_data(
    config: TrainingConfig, load: Callable[[str, str | None], Dataset] = datasets.load, root: str | None = None
) -> Dataset:
    """The data that a run was or is trained on.

    Args:
        config: Flags of the example.
        load: Reads the data, called with their name and folder.
        root: Folder of the data, if it is no longer that in ``config``.

    Raises:
        ValueError: If there are fewer training images than ``config.train_images``, or that is less than 1.
    """
    data, count = load(config.data, root or config.root), config.train_images
    if count is None:
        return data
    if not 1 <= count <= len(data.train):
        raise ValueError(f"train_images must lie between 1 and the {len(data.train)} of {config.data}, got {count}")
    labels = None if data.train.labels is None else data.train.labels[:count]
    return replace(data, train=Split(data.train.images[:count], labels))


def check_evaluation(data: Dataset, num_samples: int, num_images: int | None) -> None:
    """Make sure that a pair can be evaluated with these numbers, before it is trained.

    Args:
        data: The data; their test images are meant.
        num_samples: Importance samples an image.
        num_images: Number of test images; None: all.

    Raises:
        ValueError: If a number is out of range; names its flag.
    """
    if num_samples < 1:
        raise ValueError(f"--num-samples must be at least 1, got {num_samples}")
    most = len(data.test)
    if num_images is not None and not 2 <= num_images <= most:
        raise ValueError(f"--num-images must lie between 2 and the {most} test images of {data.name}, got {num_images}")


def summary(config: TrainingConfig, results: Results) -> str:
    """The row of the table that a run came to, and where its files are."""
    files = f"weights, metrics.csv, results.json{', figures' if config.figures else ''}"
    return f"{table({config.title: results})}{knn_summary(results)}\nin {config.folder}: {files}"
