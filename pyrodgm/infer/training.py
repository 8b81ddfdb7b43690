"""A training run: everything that changes while it goes on, and how."""

import copy
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pyro.infer
import torch
from torch import Tensor, nn

from pyrodgm.datasets import Dataset
from pyrodgm.infer.batches import Batches
from pyrodgm.infer.contexts import evaluating, fork_rng, rehearse
from pyrodgm.infer.nonfinite import NonFiniteError, nonfinite_parameters, nonfinite_sites
from pyrodgm.infer.step import Compile, TrainStep
from pyrodgm.priors.rows import training_rows

OptimizerMaker = Callable[[Iterable[Any]], torch.optim.Optimizer]
SchedulerMaker = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
Row = dict[str, float]
Score = Callable[[nn.Module, Dataset], float]

VALIDATION_BATCH = 500  # without gradients there is room for more than a training batch
CHECK_EVERY = 100  # steps between two looks at the losses, each of which waits for the device


class Training:
    """The state of a run and the passes that change it; :func:`pyrodgm.infer.fit` drives it.

    Attributes:
        epoch: Number of whole epochs done.
        rows: Metrics of each of them.
        seconds: Seconds that each of them took, validation included.
        best_epoch: The epoch with the best bound so far, 0 before the first.
        best_bound: That bound, in nats a datum, or the score of :func:`fit` in its place.
        best_weights: The state of the pair after that epoch.
    """

    def __init__(
        self,
        pair: nn.Module,
        data: Dataset,
        objective: pyro.infer.ELBO,
        optimizer: OptimizerMaker,
        lr_scheduler: SchedulerMaker | None,
        clip_grad_norm: float | None,
        compile: Compile,  # noqa: A002
        epochs: int,
        batch_size: int,
        kl_warmup: float,
        seed: int,
        labelled_batch_size: int | None = None,
        valid_score: Score | None = None,
        lr_schedule: Callable[[float], float] | None = None,
        parameter_groups: Callable[[nn.Module], Iterable[Any]] = nn.Module.parameters,
    ) -> None:
        self.device = next(pair.parameters()).device
        self.pair, self.data, self.batch_size, self.kl_warmup, self.seed = pair, data, batch_size, kl_warmup, seed
        self.objective, self.evidence_bound = copy.copy(objective), copy.copy(objective)
        self.kl_weight = torch.ones((), device=self.device)
        self.kl_target = 1.0
        if hasattr(objective, "kl_weight"):
            self.kl_target = float(objective.kl_weight)
            self.objective.kl_weight = self.kl_weight
            self.evidence_bound.kl_weight = torch.ones((), device=self.device)
        self.optimizer = optimizer(parameter_groups(pair))
        self.lr_schedule = lr_schedule
        self.base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.scheduler = lr_scheduler(self.optimizer) if lr_scheduler else None
        self.batches, self.valid_score = Batches(data, batch_size, labelled_batch_size), valid_score
        self.steps_per_epoch = len(self.batches)
        self.total_steps = steps = epochs * self.steps_per_epoch
        rows = partial(training_rows, total=len(data.train.images))
        self.step = TrainStep(pair, self.objective, self.optimizer, clip_grad_norm, compile, steps, self.batches, rows)
        self.epoch, self.best_epoch, self.best_bound = 0, 0, -math.inf
        with fork_rng(self.device):
            first = self.batches.first()
        rehearse(pair, self.evidence_bound, first)
        self.rows: list[Row] = []
        self.seconds: list[float] = []
        self.best_weights: dict[str, Tensor] = {}

    def run_epoch(self, tick: Callable[[int, float], None] = lambda steps, bound: None) -> Row:
        """Train for one epoch and validate; returns the row of metrics, which is also kept.

        Args:
            tick: Called every hundred steps with the number of steps since the last call and the running bound.
        """
        began, start = time.perf_counter(), copy.deepcopy(self.state())
        losses = torch.zeros(self.steps_per_epoch, device=self.device)
        sizes = torch.empty(self.steps_per_epoch)
        self.pair.train()
        checked = 0
        for i, rows in enumerate(self.batches.permuted()):
            self._set_kl_weight(i)
            self._set_learning_rate(i)
            losses[i] = self.step(rows)
            sizes[i] = len(rows)
            if (i + 1) % CHECK_EVERY == 0 or i + 1 == self.steps_per_epoch:
                total = float((losses[: i + 1] * sizes[: i + 1].to(self.device)).sum())
                if not math.isfinite(total):
                    self._find_fault(start)
                tick(i + 1 - checked, -total / float(sizes[: i + 1].sum()))
                checked = i + 1
        if nonfinite_parameters(self.pair):
            self._find_fault(start)
        row = {
            "epoch": self.epoch + 1,
            "step": (self.epoch + 1) * self.steps_per_epoch,
            "kl_weight": float(self.kl_weight),
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "train_bound": -total / float(sizes.sum()),
            "valid_bound": self.validate(),
        }
        if self.valid_score is not None:
            row["valid_score"] = self._score()
        if self.data.valid and not math.isfinite(row["valid_bound"]):
            self.load(start)
            raise NonFiniteError(None, [])
        self.seconds.append(time.perf_counter() - began)
        self._finish_epoch(row)
        return row

    def validate(self) -> float:
        """The bound on the validation set in nats a datum; NaN if there is none.

        The noise is the same each time.
        """
        if not self.data.valid:
            return math.nan
        images, total = self.data.valid.images, torch.zeros((), device=self.device)
        with fork_rng(self.device), evaluating(self.pair):
            torch.manual_seed(self.seed)
            for x in images.split(max(self.batch_size, VALIDATION_BATCH)):
                total += self.evidence_bound.differentiable_loss(self.pair.model, self.pair.guide, x)
        return -float(total) / len(images)

    def state(self) -> dict[str, Any]:
        """Everything that going on from here needs, in plain values and tensors."""
        return {
            "epoch": self.epoch,
            "mode": self.step.mode,  # compiled steps round otherwise than traced ones
            "best_epoch": self.best_epoch,
            "best_bound": self.best_bound,
            "best_weights": self.best_weights,
            "rows": self.rows,
            "seconds": self.seconds,
            "weights": dict(self.pair.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "cpu_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go back, or forth, to what :meth:`state` returned."""
        state = copy.deepcopy(state)
        self.epoch, self.best_epoch, self.best_bound = state["epoch"], state["best_epoch"], state["best_bound"]
        self.best_weights, self.rows, self.seconds = state["best_weights"], state["rows"], state["seconds"]
        self.step.mode = state["mode"]
        self.step.forget()
        self.pair.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler:
            self.scheduler.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["cpu_rng"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)

    def _score(self) -> float:
        """The score that decides which weights are best, under the same noise each time."""
        with fork_rng(self.device), evaluating(self.pair):
            torch.manual_seed(self.seed)
            return float(self.valid_score(self.pair, self.data)) if self.valid_score is not None else math.nan

    def _set_learning_rate(self, i: int) -> None:
        if self.lr_schedule is None:
            return
        factor = self.lr_schedule((self.epoch * self.steps_per_epoch + i) / self.total_steps)
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            if isinstance(group["lr"], Tensor):  # a captured step reads it on the device
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def _set_kl_weight(self, i: int) -> None:
        done = self.epoch + (i + 1) / self.steps_per_epoch
        self.kl_weight.fill_(self.kl_target * min(1.0, done / self.kl_warmup if self.kl_warmup else 1.0))

    def _finish_epoch(self, row: Row) -> None:
        if self.scheduler:
            self.scheduler.step()
        bound = row.get("valid_score", row["valid_bound"] if self.data.valid else row["train_bound"])
        self.epoch += 1
        self.rows.append(row)
        if bound > self.best_bound:
            self.best_epoch, self.best_bound = self.epoch, bound
            self.best_weights = copy.deepcopy(dict(self.pair.state_dict()))

    def _find_fault(self, start: dict[str, Any]) -> None:
        """Run the epoch again from its start, looking at each step, and say where it went wrong."""
        self.load(start)
        step, causes = self.epoch * self.steps_per_epoch, list[str]()
        self.pair.train()
        for i, rows in enumerate(self.batches.permuted()):
            before = copy.deepcopy(self.state())
            self._set_kl_weight(i)
            self._set_learning_rate(i)
            loss = self.step(rows)
            causes = nonfinite_parameters(self.pair)
            if causes or not math.isfinite(float(loss)):
                self.load(before)
                causes = nonfinite_sites(self.pair, self.objective, self.batches(rows)) or causes
                step += i
                break
        self.optimizer.zero_grad(set_to_none=True)
        self.load(start)
        raise NonFiniteError(step, causes)
