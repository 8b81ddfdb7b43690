"""Training on a long sequence, in streams of windows."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyro.infer
import torch
from torch import Tensor

from pyrodgm.datasets import Text, stream_batches
from pyrodgm.infer.estimators.elbo import ELBO
from pyrodgm.infer.evaluation.code_length import bits_per_symbol
from pyrodgm.infer.tracing.contexts import fork_rng, own_parameters, rehearse
from pyrodgm.infer.training.nonfinite import NonFiniteError, nonfinite_parameters
from pyrodgm.infer.training.resumable import Resumable, Row
from pyrodgm.infer.training.fingerprint import fingerprint
from pyrodgm.infer.training.run_folder import RunFolder
from pyrodgm.infer.training.settings import OptimizerMaker, SchedulerMaker
from pyrodgm.infer.training.step import Compile, TrainStep, check_clip_grad_norm

CHECK_EVERY = 50  # updates between two looks at the losses


@dataclass(frozen=True)
class TextFitResult:
    """What training came to.

    Attributes:
        metrics: one row a validation: update, kl_weight, learning_rate, train_bits (mean of the bound that was trained
            on since the last validation, with the KL weight of the time), valid_bits, valid_bound, num_steps,
            mean_step.
        seconds: seconds up to each validation since the one before, without it.
        best_update: the update whose weights the pair now has.
        best_bits: its bits a symbol on the validation data.
        run_dir: the run folder, if any.
    """

    metrics: list[Row]
    seconds: list[float]
    best_update: int
    best_bits: float
    run_dir: Path | None


def fit_text(
    pair: Any,
    text: Text,
    *,
    updates: int,
    batch_size: int = 32,
    length: int = 100,
    objective: pyro.infer.ELBO | None = None,
    optimizer: OptimizerMaker | None = None,
    lr_scheduler: SchedulerMaker | None = None,
    clip_grad_norm: float | None = 1.0,
    kl_warmup: int = 0,
    validate_every: int = 1000,
    valid_symbols: int | None = None,
    compile: Compile = "traced",  # noqa: A002
    seed: int = 0,
    run_dir: Path | str | None = None,
    resume: bool = False,
    config: dict[str, Any] | None = None,
    progress: bool | None = None,
) -> TextFitResult:
    """Train a sequence model on a text by truncated backpropagation; it ends with its best weights, in evaluation mode.

    The text is read in `batch_size` streams, window by window, with the state carried over, and again from its
    beginning, with zero states, once it has been read.

    Args:
        pair: a `SequenceModel` of symbols.
        text: its training part is trained on, its validation part chooses the weights.
        updates: number of optimiser steps.
        batch_size: streams.
        length: T, symbols of a window.
        objective: any :class:`pyro.infer.ELBO`; :class:`pyrodgm.infer.ELBO` by default.
        optimizer: makes a torch optimiser from the parameters; fused Adam with learning rate 2e-3 by default.
        lr_scheduler: makes a torch learning-rate scheduler, stepped after each update.
        clip_grad_norm: largest Euclidean norm of the gradient of all parameters together, in nats a symbol.
        kl_warmup: updates over which the objective's ``kl_weight`` rises linearly from 0 to its value.
        validate_every: updates between two validations; there is one at the end too.
        valid_symbols: how many symbols of the validation part are used; None: all.
        compile: how steps run, as in :class:`TrainStep`.
        seed: seed of everything random in training; the caller's random state is left as it was.
        run_dir: folder for ``config.json``, ``metrics.csv``, ``times.csv``, ``best.safetensors`` and ``state.pt``,
            written at each validation.
        resume: go on from ``state.pt`` if it is there. On the CPU, with as many threads, the result is that of an
            uninterrupted run, bit for bit.
        config: anything that JSON can hold, kept in ``config.json``.
        progress: whether to show a progress bar; by default where the output is a terminal.

    Raises:
        NonFiniteError: if a loss or parameter stops being finite; it names step and sites. The pair and the run folder
            keep the state of the last validation.
        FileExistsError: if the run folder holds a run and ``resume`` is false.
        ValueError: if an argument is out of range, the text is too short for one window or its validation part for one
            prediction, or a run is resumed with other settings.
        DamagedFileError: if ``state.pt`` is truncated or altered.
    """
    for name, value in (("updates", updates), ("validate_every", validate_every)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value!r}")
    if kl_warmup < 0:
        raise ValueError(f"kl_warmup must be at least 0, got {kl_warmup!r}")
    check_clip_grad_norm(clip_grad_norm)
    valid = text.valid[:valid_symbols]
    if len(valid) < 2:
        raise ValueError(
            f"text: expected a validation part of at least 2 symbols, got {len(text.valid)}, "
            f"of which valid_symbols={valid_symbols} leaves {len(valid)}"
        )
    objective = ELBO() if objective is None else objective
    optimizer = partial(torch.optim.Adam, lr=2e-3, fused=True) if optimizer is None else optimizer
    settings = {
        "objective": fingerprint(objective),
        "optimizer": fingerprint(optimizer),
        "lr_scheduler": fingerprint(lr_scheduler),
        "batch_size": batch_size,
        "length": length,
        "kl_warmup": kl_warmup,
        "clip_grad_norm": clip_grad_norm,
        "validate_every": validate_every,
        "valid_symbols": valid_symbols,
        "seed": seed,
        "training_symbols": len(text.train),
    }
    device = next(pair.parameters()).device
    with fork_rng(device), own_parameters():
        torch.manual_seed(seed)
        training = TextTraining(
            pair,
            text.train.to(device),
            valid.to(device),
            objective,
            optimizer,
            lr_scheduler,
            clip_grad_norm,
            kl_warmup,
            batch_size,
            length,
            compile,
            updates,
            validate_every,
            seed,
        )
        folder = None if run_dir is None else RunFolder(Path(run_dir), resume, settings, config, pair)
        if folder is not None:
            folder.restore(training)
        try:
            _train(training, folder, progress)
        finally:
            if folder is not None:
                folder.close()
    pair.load_state_dict(training.best_weights)
    pair.carry(0)
    pair.eval()
    best = int(training.rows[training.best_epoch - 1]["update"])
    return TextFitResult(
        training.rows, training.seconds, best, -training.best_bound, folder.path if folder is not None else None
    )


class TextTraining(Resumable):
    """The state of a run on a text, of which an epoch is what lies between two validations."""

    pair: Any

    def __init__(
        self,
        pair: Any,
        sequence: Tensor,
        valid: Tensor,
        objective: pyro.infer.ELBO,
        optimizer: OptimizerMaker,
        lr_scheduler: SchedulerMaker | None,
        clip_grad_norm: float | None,
        kl_warmup: int,
        batch_size: int,
        length: int,
        compile: Compile,  # noqa: A002
        updates: int,
        validate_every: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.pair, self.valid, self.device, self.seed = pair, valid, sequence.device, seed
        self.length, self.kl_warmup, self.updates, self.validate_every = length, kl_warmup, updates, validate_every
        self.objective = copy.copy(objective)
        self.kl_weight = torch.ones((), device=self.device)
        self.kl_target = float(getattr(objective, "kl_weight", 1.0))
        if hasattr(objective, "kl_weight"):
            self.objective.kl_weight = self.kl_weight
        elif kl_warmup:
            raise ValueError("kl_warmup must be 0: the objective has no kl_weight")
        self.optimizer = optimizer(pair.parameters())
        self.scheduler = lr_scheduler(self.optimizer) if lr_scheduler else None
        self.windows = list(stream_batches(sequence, batch_size, length))
        self.update = 0
        pair.train()
        pair.carry(batch_size)
        limit = None if clip_grad_norm is None else clip_grad_norm * length  # the loss is that of a window
        self.step = TrainStep(pair, self.objective, self.optimizer, limit, compile)
        rehearse(pair, self.objective, self.windows[0])

    def run_epoch(self, tick: Callable[[int, float], None] = lambda updates, bits: None) -> Row:
        """Train until the next validation, and validate; returns the row of metrics, which is also kept.

        Args:
            tick: called every fifty updates with the number of updates since the last call and the running bits.
        """
        began, start = time.perf_counter(), copy.deepcopy(self.state())
        losses: list[Tensor] = []
        self.pair.train()
        bits, checked, last = math.nan, 0, self._until() - self.update
        for window in self.arguments():
            losses.append(self.take_step(start, *window))
            if len(losses) % CHECK_EVERY == 0 or len(losses) == last:
                bits = float(torch.stack(losses).mean()) / self.length / math.log(2)
                if not math.isfinite(bits):
                    self.find_fault(start)
                tick(len(losses) - checked, bits)
                checked = len(losses)
        if nonfinite_parameters(self.pair):
            self.find_fault(start)
        self.seconds.append(time.perf_counter() - began)
        measured = bits_per_symbol(self.pair, self.valid, seed=self.seed)
        if not math.isfinite(measured.bits):
            self.load(start)
            raise NonFiniteError(None, [f"valid_bits is {measured.bits}"])
        row = {
            "update": self.update,
            "kl_weight": float(self.kl_weight),
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "train_bits": bits,
            "valid_bits": measured.bits,
            "valid_bound": measured.bound,
            "num_steps": measured.num_steps,
            "mean_step": measured.mean_step,
        }
        self.finish_epoch(row, -measured.bits)
        return row

    @property
    def steps(self) -> int:
        return self.update

    def arguments(self) -> Iterator[tuple[Tensor, ...]]:
        until = self._until()
        while self.update < until:
            window = self.update % len(self.windows)
            if window == 0:
                self.pair.restart()
            done = (self.update + 1) / self.kl_warmup if self.kl_warmup else 1.0
            self.kl_weight.fill_(self.kl_target * min(1.0, done))
            yield self.windows[window]
            self.pair.advance()
            if self.scheduler:
                self.scheduler.step()
            self.update += 1

    def state(self) -> dict[str, Any]:
        return super().state() | {"update": self.update, "carried": self.pair.carried}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self.update = state["update"]
        self.pair.carried.copy_(state["carried"])

    def _until(self) -> int:
        return min(self.updates, (self.update // self.validate_every + 1) * self.validate_every)


def _train(training: TextTraining, folder: RunFolder | None, progress: bool | None) -> None:
    """Run epochs until there are enough updates."""
    from tqdm.auto import tqdm

    disable = None if progress is None else not progress
    with tqdm(total=training.updates, initial=training.update, unit="update", disable=disable) as bar:

        def tick(done: int, bits: float) -> None:
            bar.update(done)
            bar.set_postfix(train=f"{bits:.3f}", best=f"{-training.best_bound:.3f}")

        while training.update < training.updates:
            training.run_epoch(tick)
            if folder is not None:
                folder.write(training)
