"""The options of :func:`pyrodgm.infer.fit`: the rarer ones, and all of them together."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import pyro.infer
import torch
from torch import nn

from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.infer.estimators.adversarial.objective import AdversarialObjective
from pyrodgm.infer.estimators.elbo import ELBO
from pyrodgm.infer.estimators.protocols import KLWeighted
from pyrodgm.infer.training.callbacks import Callback
from pyrodgm.infer.training.loggers.logger import Logger
from pyrodgm.infer.training.step import Compile, check_clip_grad_norm, check_compile

OptimizerMaker: TypeAlias = Callable[[Iterable[Any]], torch.optim.Optimizer]
SchedulerMaker: TypeAlias = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
Score: TypeAlias = Callable[[nn.Module, Any], float]
Precision = Literal["bf16-mixed", "fp16-mixed"]


def _make_plain(options: Any, names: Iterable[str], kind: type[int] | type[float], optional: bool = False) -> None:
    """Turn numbers of NumPy and the like into Python's, which a run folder can hold."""
    for name in names:
        value = getattr(options, name)
        if value is None and optional:
            continue
        plain = whole_number(name, value, None) if kind is int else finite_number(name, value)
        object.__setattr__(options, name, plain)


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
        clip_grad_norm: Largest Euclidean norm of the gradient of all parameters that the optimiser has together.
        compile: How steps run, as in :class:`TrainStep`: ``"auto"``, ``"eager"``, ``"traced"`` or ``"compiled"``.
        device: Where to train; by default where the pair is.
        config: Anything that JSON can hold, kept in ``config.json``.
        progress: Whether to show a progress bar; by default where the output is a terminal.
        valid: Validation data of any kind that :func:`pyrodgm.infer.fit` takes; those of a pyrodgm data set by default.
        max_steps: Optimiser steps after which training ends, in the middle of an epoch if need be.
        steps_per_epoch: Steps from one validation to the next in place of a pass over the data, which goes on where the
            epoch before ended; needed for streams of unknown length without ``max_steps``.
        accumulate: Batches per optimiser step, whose gradients are averaged.
        precision: ``"bf16-mixed"`` to run linear and convolutional layers in bfloat16 while training, ``"fp16-mixed"``
            to run them in float16, for CUDA devices that have no bfloat16: the loss is scaled so that small gradients
            are not lost, and steps whose gradients overflow are left out (:class:`torch.amp.GradScaler`). Parameters,
            distributions and densities keep their precision, as does validation.
        critic_optimizer: Makes the optimiser of the discriminator, for an objective of two players
            (:class:`GANLoss`, say); that of the rest by default.
        critic_steps: Steps of the discriminator before each of the rest, each on a batch of its own, the last of which
            is that of the rest too. One of these rounds is a step of the run.
        callbacks: What runs after steps, validations and epochs, and may stop training.
        loggers: What else gets the metrics of each epoch.

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
    valid: Any = None
    max_steps: int | None = None
    steps_per_epoch: int | None = None
    accumulate: int = 1
    precision: Precision | None = None
    critic_optimizer: OptimizerMaker | None = None
    critic_steps: int = 1
    callbacks: Sequence[Callback] = ()
    loggers: Sequence[Logger] = ()

    def __post_init__(self) -> None:
        _make_plain(self, ("labelled_batch_size", "max_steps", "steps_per_epoch"), int, optional=True)
        _make_plain(self, ("valid_every", "accumulate", "critic_steps"), int)
        _make_plain(self, ("clip_grad_norm",), float, optional=True)
        size = self.labelled_batch_size
        for name in ("max_steps", "steps_per_epoch"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "at least 1, or None")
        require(self.accumulate >= 1, "accumulate", self.accumulate, "at least 1")
        require(self.critic_steps >= 1, "critic_steps", self.critic_steps, "at least 1")
        known = self.precision in (None, *get_args(Precision))
        require(known, "precision", self.precision, f"one of {', '.join(get_args(Precision))}, or None")
        require(self.valid_every >= 1, "valid_every", self.valid_every, "at least 1")
        require(size is None or size >= 1, "labelled_batch_size", size, "at least 1, or None")
        for name in ("lr_scheduler", "lr_schedule", "valid_score", "critic_optimizer"):
            made = getattr(self, name)
            made_already = isinstance(made, torch.optim.lr_scheduler.LRScheduler)  # which fit refuses with advice
            known = made is None or callable(made) or made_already
            require(known, name, made, "a function, or None")
        require(callable(self.parameter_groups), "parameter_groups", self.parameter_groups, "a function")
        both = self.lr_schedule is not None and self.lr_scheduler is not None
        require(not both, "lr_schedule", self.lr_schedule, "None: there is an lr_scheduler")
        for name in ("callbacks", "loggers"):
            value = getattr(self, name)
            require(isinstance(value, Sequence) and not isinstance(value, str), name, value, "a sequence")
        check_clip_grad_norm(self.clip_grad_norm)
        check_compile(self.compile)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All options of a run.

    Args:
        objective: Any :class:`pyro.infer.ELBO`.
        optimizer: Makes a torch optimiser from the parameters.
        epochs: Passes over the training data; None: as many as ``max_steps`` takes.
        batch_size: Data per batch.
        kl_warmup: Epochs over which the objective's ``kl_weight`` rises linearly from 0 to its value.
        patience: Epochs without a better validation before training stops.
        seed: Seed of everything random in training.
        settings: The rarer options.

    Raises:
        ValueError: If an argument is out of range.
    """

    objective: pyro.infer.ELBO
    optimizer: OptimizerMaker
    epochs: int | None
    batch_size: int = 100
    kl_warmup: float = 0.0
    patience: int | None = None
    seed: int = 0
    settings: FitSettings = FitSettings()

    @classmethod
    def of(cls, objective: pyro.infer.ELBO | None, optimizer: OptimizerMaker | None, **options: Any) -> "Plan":
        """A plan with the defaults that all ways to train share: the ELBO, and fused Adam with learning rate 1e-3."""
        return cls(
            objective=ELBO() if objective is None else objective,
            optimizer=partial(torch.optim.Adam, lr=1e-3, fused=True) if optimizer is None else optimizer,
            **options,
        )

    def __post_init__(self) -> None:
        if not isinstance(self.settings, FitSettings):
            raise TypeError(f"settings must be FitSettings, got {self.settings!r}")
        _make_plain(self, ("epochs", "patience"), int, optional=True)
        _make_plain(self, ("batch_size", "seed"), int)
        _make_plain(self, ("kl_warmup",), float)
        require(self.epochs is None or self.epochs >= 1, "epochs", self.epochs, "at least 1")
        if self.epochs is None and self.settings.max_steps is None:
            raise ValueError("epochs must be given where settings have no max_steps, got None")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        require(self.kl_warmup >= 0, "kl_warmup", self.kl_warmup, "at least 0")
        weighted = self.kl_warmup == 0 or isinstance(self.objective, KLWeighted)
        require(weighted, "kl_warmup", self.kl_warmup, "0: the objective has no kl_weight")
        require(self.patience is None or self.patience >= 1, "patience", self.patience, "at least 1, or None")
        self._check_players()

    @property
    def is_adversarial(self) -> bool:
        """Whether the objective is one of two players."""
        return isinstance(self.objective, AdversarialObjective)

    def _check_players(self) -> None:
        """Raise ValueError for settings that an objective of two players does not have, or it alone has."""
        settings, name = self.settings, type(self.objective).__name__
        if not self.is_adversarial:
            alone = f"where {name} has one player"
            require(settings.critic_steps == 1, "critic_steps", settings.critic_steps, f"1 {alone}")
            require(settings.critic_optimizer is None, "critic_optimizer", settings.critic_optimizer, f"None {alone}")
            return
        players = f"where {name} has two players"
        require(settings.accumulate == 1, "accumulate", settings.accumulate, f"1 {players}")
        require(
            settings.lr_scheduler is None, "lr_scheduler", settings.lr_scheduler, f"None {players}: lr_schedule can do"
        )
        scaled = settings.precision == "fp16-mixed"
        require(not scaled, "precision", settings.precision, f"'bf16-mixed' or None {players}")
        size, all_of_it = settings.labelled_batch_size, settings.parameter_groups is nn.Module.parameters
        require(size is None, "labelled_batch_size", size, f"None {players}")
        require(all_of_it, "parameter_groups", settings.parameter_groups, f"those of nn.Module {players}")
        decided = self.patience is None or settings.valid_score is not None
        require(
            decided, "patience", self.patience, f"None without a valid_score {players}: their losses choose no weights"
        )

    def lengths(self, pass_length: int | None) -> tuple[int, int, int]:
        """Steps per epoch, epochs, and steps in all, for data with so many batches per pass.

        Raises:
            ValueError: If the length of a pass is unknown, and the settings have no number of steps.
        """
        settings, most = self.settings, self.settings.max_steps
        steps = settings.steps_per_epoch
        if steps is None and pass_length is not None:
            steps = math.ceil(pass_length / (settings.accumulate * settings.critic_steps))
        if steps is None:
            steps = most
        if steps is None:
            raise ValueError("steps_per_epoch must be given in the settings, for a stream of unknown length, got None")
        epochs = math.ceil((most or 0) / steps) if self.epochs is None else self.epochs
        return steps, epochs, epochs * steps if most is None else min(epochs * steps, most)


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
