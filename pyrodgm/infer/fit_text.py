"""Training on a long sequence, in streams of windows."""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyro.infer
import torch
from torch import Tensor, nn

from pyrodgm.datasets import Text, stream_batches
from pyrodgm.infer.bits import bits_per_symbol
from pyrodgm.infer.checkpoint import save_weights
from pyrodgm.infer.contexts import fork_rng, own_parameters
from pyrodgm.infer.elbo import ELBO
from pyrodgm.infer.nonfinite import NonFiniteError, nonfinite_parameters
from pyrodgm.infer.records import write_csv
from pyrodgm.infer.step import Compile, TrainStep
from pyrodgm.infer.training import OptimizerMaker, Row, SchedulerMaker

CHECK_EVERY = 50  # updates between two looks at the losses


@dataclass(frozen=True)
class TextFitResult:
    """What training came to.

    Attributes:
        metrics: one row a validation: update, kl_weight, learning_rate, train_bits (a running mean of the bound that
            was trained on, with the KL weight of the time), valid_bits, valid_bound, num_steps, mean_step, seconds.
        best_update: the update whose weights the pair now has.
        best_bits: its bits a symbol on the validation data.
        run_dir: the run folder, if any.
    """

    metrics: list[Row]
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
        run_dir: folder for ``metrics.csv`` and ``best.safetensors``, made new.
        progress: whether to show a progress bar; by default where the output is a terminal.

    Raises:
        NonFiniteError: if a loss or parameter stops being finite.
        FileExistsError: if the run folder holds a run.
        ValueError: if an argument is out of range, or the text is too short for one window.
    """
    for name, value in (("updates", updates), ("validate_every", validate_every)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value!r}")
    if kl_warmup < 0:
        raise ValueError(f"kl_warmup must be at least 0; got {kl_warmup!r}")
    folder = None if run_dir is None else Path(run_dir)
    if folder is not None:
        if (folder / "metrics.csv").exists():
            raise FileExistsError(f"{folder} holds a run; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
    device = next(pair.parameters()).device
    with fork_rng(device):
        torch.manual_seed(seed)
        trainer = _Trainer(
            pair,
            text.train.to(device),
            copy.copy(ELBO() if objective is None else objective),
            partial(torch.optim.Adam, lr=2e-3, fused=True) if optimizer is None else optimizer,
            lr_scheduler,
            clip_grad_norm,
            kl_warmup,
            batch_size,
            length,
            compile,
        )
        valid = text.valid[:valid_symbols].to(device)
        rows, best = _run(trainer, valid, updates, validate_every, seed, folder, progress)
    pair.load_state_dict(best["weights"])
    pair.carry(0)
    pair.eval()
    return TextFitResult(rows, best["update"], best["bits"], folder)


class _Trainer:
    """One update after the other."""

    def __init__(
        self,
        pair: nn.Module,
        sequence: Tensor,
        objective: pyro.infer.ELBO,
        optimizer: OptimizerMaker,
        lr_scheduler: SchedulerMaker | None,
        clip_grad_norm: float | None,
        kl_warmup: int,
        batch_size: int,
        length: int,
        compile: Compile,  # noqa: A002
    ) -> None:
        self.pair, self.sequence, self.kl_warmup = pair, sequence, kl_warmup
        self.batch_size, self.length = batch_size, length
        self.kl_weight = torch.ones((), device=sequence.device)
        self.kl_target = float(getattr(objective, "kl_weight", 1.0))
        if hasattr(objective, "kl_weight"):
            objective.kl_weight = self.kl_weight
        elif kl_warmup:
            raise ValueError("kl_warmup must be 0: the objective has no kl_weight")
        self.optimizer = optimizer(pair.parameters())
        self.scheduler = lr_scheduler(self.optimizer) if lr_scheduler else None
        pair.train()
        pair.carry(batch_size)  # type: ignore[operator]
        limit = None if clip_grad_norm is None else clip_grad_norm * length  # the loss is that of a window
        self.step = TrainStep(pair, objective, self.optimizer, limit, compile)
        self.windows = self._windows()
        self.update = 0

    def __call__(self) -> Tensor:
        """One update; the loss in nats a symbol."""
        self.update += 1
        done = self.update / self.kl_warmup if self.kl_warmup else 1.0
        self.kl_weight.fill_(self.kl_target * min(1.0, done))
        self.pair.train()
        loss = self.step(*next(self.windows))
        self.pair.advance()  # type: ignore[operator]
        if self.scheduler:
            self.scheduler.step()
        return loss / self.length

    def _windows(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            self.pair.restart()  # type: ignore[operator]
            yield from stream_batches(self.sequence, self.batch_size, self.length)


def _run(
    trainer: _Trainer,
    valid: Tensor,
    updates: int,
    validate_every: int,
    seed: int,
    folder: Path | None,
    progress: bool | None,
) -> tuple[list[Row], dict[str, Any]]:
    from tqdm.auto import tqdm

    rows: list[Row] = []
    best: dict[str, Any] = {"bits": math.inf, "update": 0, "weights": copy.deepcopy(trainer.pair.state_dict())}
    losses: list[Tensor] = []
    seconds, began = 0.0, time.perf_counter()
    with (
        tqdm(total=updates, unit="update", disable=None if progress is None else not progress) as bar,
        own_parameters(),
    ):
        for update in range(1, updates + 1):
            losses.append(trainer())
            last = update % validate_every == 0 or update == updates
            if update % CHECK_EVERY == 0 or last:
                if not math.isfinite(float(losses[-1])):
                    causes = nonfinite_parameters(trainer.pair)
                    trainer.pair.load_state_dict(best["weights"])
                    raise NonFiniteError(update, causes)
                bar.update(update - bar.n)
                bar.set_postfix(train=f"{float(losses[-1]) / math.log(2):.3f}", best=f"{best['bits']:.3f}")
            if not last:
                continue
            seconds += time.perf_counter() - began
            measured = bits_per_symbol(trainer.pair, valid, seed=seed)
            rows.append(
                {
                    "update": update,
                    "kl_weight": float(trainer.kl_weight),
                    "learning_rate": trainer.optimizer.param_groups[0]["lr"],
                    "train_bits": float(torch.stack(losses).mean()) / math.log(2),
                    "valid_bits": measured.bits,
                    "valid_bound": measured.bound,
                    "num_steps": measured.num_steps,
                    "mean_step": measured.mean_step,
                    "seconds": seconds,
                }
            )
            if measured.bits < best["bits"]:
                weights = copy.deepcopy(trainer.pair.state_dict())
                best = {"bits": measured.bits, "update": update, "weights": weights}
            if folder is not None:
                write_csv(folder / "metrics.csv", rows)
                save_weights(best["weights"], folder / "best.safetensors")
            losses, began = [], time.perf_counter()
    return rows, best
