"""The options of :func:`pyrodgm.infer.fit`: the rarer ones, and all of them together."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import pyro.infer
import torch
from torch import nn

from pyrodgm.datasets import Dataset
from pyrodgm.infer.training.step import Compile, check_clip_grad_norm, check_compile

OptimizerMaker: TypeAlias = Callable[[Iterable[Any]], torch.optim.Optimizer]
SchedulerMaker: TypeAlias = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
Score: TypeAlias = Callable[[nn.Module, Dataset], float]


def require(fine: bool, name: str, value: Any, expected: str) -> None:
    """Raise ValueError naming the argument, what was expected and what came, unless all is fine."""
    if not fine:
        raise ValueError(f"{name} must be {expected}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """The rarer options of :func:`pyrodgm.infer.fit`.

    Args:
        lr_scheduler: Makes a torch learning-rate scheduler, stepped after each epoch.
        lr_schedule: Called before each step with the share of the run that is done, in [0, 1), gives the factor of the
            optimiser's learning rates at that step, as from :class:`PiecewiseConstant`.
        parameter_groups: Called with the pair, gives what the optimiser is made of: its parameters, or groups of them
            with settings of their own, as from :func:`decay_groups`.
        labelled_batch_size: Labelled images per step, besides ``batch_size`` unlabelled ones: the objective is then
            called with images ``[labelled_batch_size + batch_size, D]`` and the labels of the first ones, as
            :class:`SemiSupervisedELBO` expects, and an epoch is a pass over the unlabelled images. By default labels
            are not used.
        valid_score: Called with the pair and the data at each validation, under the same noise each time, decides which
            weights are best (the highest) and how long to wait, in place of the validation bound.
        valid_every: Epochs from one validation to the next; there is one after the last epoch too.
        clip_grad_norm: Largest Euclidean norm of the gradient of all parameters together.
        compile: How steps run, as in :class:`TrainStep`: ``"auto"``, ``"eager"``, ``"traced"`` or ``"compiled"``.
        device: Where to train; by default where the pair is.
        config: Anything that JSON can hold, kept in ``config.json``.
        progress: Whether to show a progress bar; by default where the output is a terminal.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> FitSettings(clip_grad_norm=5.0).valid_every
        1
    """

    lr_scheduler: SchedulerMaker | None = None
    lr_schedule: Callable[[float], float] | None = None
    parameter_groups: Callable[[nn.Module], Iterable[Any]] = nn.Module.parameters
    labelled_batch_size: int | None = None
    valid_score: Score | None = None
    valid_every: int = 1
    clip_grad_norm: float | None = None
    compile: Compile = "auto"
    device: torch.device | str | None = None
    config: Mapping[str, Any] | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        size = self.labelled_batch_size
        require(self.valid_every >= 1, "valid_every", self.valid_every, "at least 1")
        require(size is None or size >= 1, "labelled_batch_size", size, "at least 1, or None")
        both = self.lr_schedule is not None and self.lr_scheduler is not None
        require(not both, "lr_schedule", self.lr_schedule, "None: there is an lr_scheduler")
        check_clip_grad_norm(self.clip_grad_norm)
        check_compile(self.compile)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All options of a run.

    Args:
        objective: Any :class:`pyro.infer.ELBO`.
        optimizer: Makes a torch optimiser from the parameters.
        epochs: Passes over the training data.
        batch_size: Data per step.
        kl_warmup: Epochs over which the objective's ``kl_weight`` rises linearly from 0 to its value.
        patience: Epochs without a better validation before training stops.
        seed: Seed of everything random in training.
        settings: The rarer options.

    Raises:
        ValueError: If an argument is out of range.
    """

    objective: pyro.infer.ELBO
    optimizer: OptimizerMaker
    epochs: int
    batch_size: int = 100
    kl_warmup: float = 0.0
    patience: int | None = None
    seed: int = 0
    settings: FitSettings = FitSettings()

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        require(self.kl_warmup >= 0, "kl_warmup", self.kl_warmup, "at least 0")
        weighted = self.kl_warmup == 0 or hasattr(self.objective, "kl_weight")
        require(weighted, "kl_warmup", self.kl_warmup, "0: the objective has no kl_weight")
        require(self.patience is None or self.patience >= 1, "patience", self.patience, "at least 1, or None")


SETTINGS = tuple(field.name for field in fields(FitSettings))


def fit_arguments(**options: Any) -> dict[str, Any]:
    """Keyword arguments of ``fit`` from its options by name, the rarer ones gathered into ``settings``.

    Example:
        >>> arguments = fit_arguments(epochs=3, progress=False)
        >>> arguments["epochs"], arguments["settings"].progress
        (3, False)
    """
    rarer = {name: options.pop(name) for name in SETTINGS if name in options}
    return {**options, "settings": FitSettings(**rarer)}


def refuse_moved(moved: Mapping[str, Any]) -> None:
    """Raise TypeError for arguments that ``fit`` does not have, naming ``settings`` where they belong there."""
    for name in moved:
        if name in SETTINGS:
            raise TypeError(f"fit() takes {name} in its settings: pass settings=FitSettings({name}=...)")
        raise TypeError(f"fit() got an unexpected keyword argument '{name}'")
