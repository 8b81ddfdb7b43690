"""Training any model/guide pair, with early stopping, checkpoints and exact resumption."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyro.infer
import torch
from torch import Tensor, nn

from pyrodgm.datasets import Dataset
from pyrodgm.infer.estimators.elbo import ELBO
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.infer.training.loop import OptimizerMaker, Row, SchedulerMaker, Score, Training
from pyrodgm.infer.training.run_folder import RunFolder, describe
from pyrodgm.infer.training.step import Compile


@dataclass(frozen=True)
class FitResult:
    """What training came to.

    Attributes:
        metrics: One row an epoch: epoch, step, kl_weight, learning_rate, train_bound, valid_bound (nats a datum) and,
            where there is one, valid_score; the last two are NaN after epochs without validation.
        seconds: Seconds that each epoch took in this process, validation included.
        best_epoch: The epoch, from 1, whose weights the pair now has.
        best_bound: Its validation bound in nats a datum, or its training bound where there are no validation data; its
            score if it was chosen by ``valid_score``.
        run_dir: The run folder, if any.
    """

    metrics: list[Row]
    seconds: list[float]
    best_epoch: int
    best_bound: float
    run_dir: Path | None


def fit(
    pair: nn.Module,
    data: Dataset | Tensor,
    *,
    epochs: int,
    objective: pyro.infer.ELBO | None = None,
    optimizer: OptimizerMaker | None = None,
    lr_scheduler: SchedulerMaker | None = None,
    lr_schedule: Callable[[float], float] | None = None,
    parameter_groups: Callable[[nn.Module], Iterable[Any]] = nn.Module.parameters,
    batch_size: int = 100,
    labelled_batch_size: int | None = None,
    valid_score: Score | None = None,
    valid_every: int = 1,
    kl_warmup: float = 0.0,
    patience: int | None = None,
    clip_grad_norm: float | None = None,
    compile: Compile = "auto",  # noqa: A002
    device: torch.device | str | None = None,
    seed: int = 0,
    run_dir: Path | str | None = None,
    resume: bool = False,
    config: dict[str, Any] | None = None,
    progress: bool | None = None,
) -> FitResult:
    """Train a model/guide pair on the bound of an estimator; the pair ends with its best weights, in evaluation mode.

    Args:
        pair: A module with the methods ``model(x)`` and ``guide(x)``.
        data: A data set, or training images ``[N, D]`` in [0, 1] alone.
        epochs: Passes over the training data.
        objective: Any :class:`pyro.infer.ELBO`; :class:`pyrodgm.infer.ELBO` by default.
        optimizer: Makes a torch optimiser from the parameters; fused Adam with learning rate 1e-3 by default.
        parameter_groups: Called with the pair, gives what the optimiser is made of: its parameters, or groups of them
            with settings of their own, as from :func:`decay_groups`.
        lr_scheduler: Makes a torch learning-rate scheduler, stepped after each epoch.
        lr_schedule: Called before each step with the share of the run that is done, in [0, 1), gives the factor of the
            optimiser's learning rates at that step, as from :class:`PiecewiseConstant`.
        batch_size: Images a step; the last batch of an epoch may be smaller.
        labelled_batch_size: Labelled images a step, besides ``batch_size`` unlabelled ones: the objective is then
            called with images ``[labelled_batch_size + batch_size, D]`` and the labels of the first ones, as
            :class:`SemiSupervisedELBO` expects, and an epoch is a pass over the unlabelled images. By default labels
            are not used.
        valid_score: Called with the pair and the data at each validation, under the same noise each time, decides which
            weights are best (the highest) and how long to wait, in place of the validation bound.
        valid_every: Epochs from one validation to the next; there is one after the last epoch too.
        kl_warmup: Epochs over which the objective's ``kl_weight`` rises linearly from 0 to its value.
        patience: Epochs without a better validation bound or score, counted after the warm-up, before training stops,
            which it does at a validation.
        clip_grad_norm: Largest Euclidean norm of the gradient of all parameters together.
        compile: How steps run, as in :class:`TrainStep`: ``"auto"``, ``"eager"``, ``"traced"`` or ``"compiled"``.
        device: Where to train; by default where the pair is.
        seed: Seed of everything random in training; the caller's random state is left as it was.
        run_dir: Folder for ``config.json``, ``metrics.csv``, ``times.csv``, ``best.safetensors`` and ``state.pt``.
        resume: Go on from ``state.pt`` if it is there. On the CPU, with as many threads, the result is that of an
            uninterrupted run, bit for bit, however the earlier process ended.
        config: Anything that JSON can hold, kept in ``config.json``.
        progress: Whether to show a progress bar; by default where the output is a terminal.

    Raises:
        NonFiniteError: If a loss, gradient or parameter stops being finite; it names step and sites. Likewise if the
            validation bound or score is not finite. The pair and the run folder keep the last good state.
        FileExistsError: If the run folder holds a run and ``resume`` is false.
        ValueError: If an argument is out of range, or a run is resumed with other settings.
        DamagedFileError: If ``state.pt`` or ``best.safetensors`` is truncated or altered.

    Example:
        >>> from pyrodgm import datasets
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.models import VAE
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> vae = VAE(StandardNormal(8), BernoulliLikelihood(mlp(8, [32], 64)), GaussianPosterior(mlp(64, [32], 16)))
        >>> result = fit(vae, datasets.load("digits"), epochs=2)
        >>> result.metrics[1]["train_bound"] > result.metrics[0]["train_bound"]
        True
    """
    data = data if isinstance(data, Dataset) else Dataset.from_tensors(data)
    objective = ELBO() if objective is None else objective
    optimizer = partial(torch.optim.Adam, lr=1e-3, fused=True) if optimizer is None else optimizer
    _require(epochs >= 1, "epochs", epochs, "at least 1")
    _require(batch_size >= 1, "batch_size", batch_size, "at least 1")
    _require(valid_every >= 1, "valid_every", valid_every, "at least 1")
    fine = labelled_batch_size is None or labelled_batch_size >= 1
    _require(fine, "labelled_batch_size", labelled_batch_size, "at least 1, or None")
    _require(kl_warmup >= 0, "kl_warmup", kl_warmup, "at least 0")
    _require(
        kl_warmup == 0 or hasattr(objective, "kl_weight"), "kl_warmup", kl_warmup, "0: the objective has no kl_weight"
    )
    _require(patience is None or patience >= 1, "patience", patience, "at least 1, or None")
    _require(
        patience is None or bool(data.valid) or valid_score is not None,
        "patience",
        patience,
        "None: there are no validation data",
    )
    _require(lr_schedule is None or lr_scheduler is None, "lr_schedule", lr_schedule, "None: there is an lr_scheduler")
    settings = {
        "objective": type(objective).__name__,
        "optimizer": describe(optimizer),
        "lr_scheduler": describe(lr_scheduler),
        "lr_schedule": describe(lr_schedule),
        "parameter_groups": describe(parameter_groups),
        "batch_size": batch_size,
        "labelled_batch_size": labelled_batch_size,
        "valid_score": describe(valid_score),
        "kl_warmup": kl_warmup,
        "patience": patience,
        "clip_grad_norm": clip_grad_norm,
        "seed": seed,
        "training_images": len(data.train.images),
    }
    first = next(pair.parameters())
    device, dtype = torch.device(device) if device is not None else first.device, first.dtype
    pair.to(device)
    with fork_rng(device):
        torch.manual_seed(seed)
        training = Training(
            pair,
            data.to(device, dtype),
            objective,
            optimizer,
            lr_scheduler,
            clip_grad_norm,
            compile,
            epochs,
            batch_size,
            kl_warmup,
            seed,
            labelled_batch_size,
            valid_score,
            lr_schedule,
            parameter_groups,
            valid_every,
        )
        folder = None if run_dir is None else RunFolder(Path(run_dir), resume, settings, config)
        if folder is not None:
            folder.restore(training)
        _train(training, epochs, patience, folder, progress)
    pair.load_state_dict(training.best_weights)
    pair.eval()
    return FitResult(
        training.rows, training.seconds, training.best_epoch, training.best_bound, folder.path if folder else None
    )


def _train(
    training: Training, epochs: int, patience: int | None, folder: RunFolder | None, progress: bool | None
) -> None:
    """Run epochs until there are enough, or none is better any more."""
    from tqdm.auto import tqdm

    steps = training.steps_per_epoch
    disable = None if progress is None else not progress
    with tqdm(total=epochs * steps, initial=training.epoch * steps, unit="step", disable=disable) as bar:

        def tick(done: int, bound: float) -> None:
            bar.update(done)
            bar.set_postfix(epoch=training.epoch + 1, train=f"{bound:.2f}", best=f"{training.best_bound:.2f}")

        while training.epoch < epochs:
            waited = training.epoch - max(training.best_epoch, math.ceil(training.kl_warmup))
            if patience is not None and waited >= patience and training.validates(training.epoch):
                break
            training.run_epoch(tick)
            if folder is not None:
                folder.write(training)


def _require(fine: bool, name: str, value: Any, expected: str) -> None:
    if not fine:
        raise ValueError(f"{name} must be {expected}; got {value!r}")
