"""A training run: everything that changes while it goes on, and how."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from pyrodgm.datasets import Dataset
from pyrodgm.datasets.training_indices import training_rows
from pyrodgm.infer.tracing.contexts import evaluating, fork_rng, loss_per_datum, rehearse
from pyrodgm.infer.training.feeds import Batches
from pyrodgm.infer.training.nonfinite import NonFiniteError, nonfinite_parameters
from pyrodgm.infer.training.resumable import Resumable, Row
from pyrodgm.infer.training.settings import Plan
from pyrodgm.infer.training.step import TrainStep

VALIDATION_BATCH = 500  # without gradients there is room for more than a training batch
CHECK_EVERY = 100  # steps between two looks at the losses, each of which waits for the device


class Training(Resumable):
    """The state of a run on a data set and the passes that change it; :func:`pyrodgm.infer.fit` drives it."""

    def __init__(self, pair: nn.Module, data: Dataset, plan: Plan) -> None:
        super().__init__()
        objective, settings = plan.objective, plan.settings
        self.device = next(pair.parameters()).device
        self.pair, self.data, self.plan = pair, data, plan
        self.objective, self.evidence_bound = copy.copy(objective), copy.copy(objective)
        self.kl_weight = torch.ones((), device=self.device)
        self.kl_target = 1.0
        if hasattr(objective, "kl_weight"):
            self.kl_target = float(objective.kl_weight)
            self.objective.kl_weight = self.kl_weight
            self.evidence_bound.kl_weight = torch.ones((), device=self.device)
        self.optimizer = plan.optimizer(settings.parameter_groups(pair))
        self.base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.scheduler = settings.lr_scheduler(self.optimizer) if settings.lr_scheduler else None
        self.batches = Batches(data, plan.batch_size, settings.labelled_batch_size)
        self.steps_per_epoch = len(self.batches)
        self.total_steps = steps = plan.epochs * self.steps_per_epoch
        rows = partial(training_rows, total=len(data.train.images))
        clip, mode = settings.clip_grad_norm, settings.compile
        self.step = TrainStep(pair, self.objective, self.optimizer, clip, mode, steps, self.batches, rows)
        with fork_rng(self.device):
            first = self.batches.first()
        rehearse(pair, self.evidence_bound, first)

    def run_epoch(self, tick: Callable[[int, float], None] = lambda steps, bound: None) -> Row:
        """Train for one epoch and validate if it is time; returns the row of metrics, which is also kept.

        Args:
            tick: Called every hundred steps with the number of steps since the last call and the running bound.
        """
        began, start = time.perf_counter(), copy.deepcopy(self.state())
        losses = torch.zeros(self.steps_per_epoch, device=self.device)
        sizes = torch.empty(self.steps_per_epoch)
        self.pair.train()
        checked = 0
        for i, (rows,) in enumerate(self.arguments()):
            losses[i] = self.take_step(start, rows)
            sizes[i] = len(rows)
            if (i + 1) % CHECK_EVERY == 0 or i + 1 == self.steps_per_epoch:
                total = float((losses[: i + 1] * sizes[: i + 1].to(self.device)).sum())
                if not math.isfinite(total):
                    self.find_fault(start)
                tick(i + 1 - checked, -total / float(sizes[: i + 1].sum()))
                checked = i + 1
        if nonfinite_parameters(self.pair):
            self.find_fault(start)
        epoch = self.epoch + 1
        validates = self.validates(epoch)
        row = {
            "epoch": epoch,
            "step": epoch * self.steps_per_epoch,
            "kl_weight": float(self.kl_weight),
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "train_bound": -total / float(sizes.sum()),
            "valid_bound": self.validate() if validates else math.nan,
        }
        scored = self.plan.settings.valid_score is not None
        if scored:
            row["valid_score"] = self._score() if validates else math.nan
        for name, known in (("valid_bound", bool(self.data.valid)), ("valid_score", scored)):
            if validates and known and not math.isfinite(row[name]):
                self.load(start)
                raise NonFiniteError(None, [f"{name} is {row[name]}"])
        self.seconds.append(time.perf_counter() - began)
        if self.scheduler:
            self.scheduler.step()
        self.finish_epoch(row, row.get("valid_score", row["valid_bound"] if self.data.valid else row["train_bound"]))
        return row

    def validates(self, epoch: int) -> bool:
        """Whether there is a validation after this epoch, the first being 1."""
        return epoch % self.plan.settings.valid_every == 0 or epoch == self.plan.epochs

    @property
    def steps(self) -> int:
        return self.epoch * self.steps_per_epoch

    def arguments(self) -> Iterator[tuple[Tensor, ...]]:
        for i, rows in enumerate(self.batches.permuted()):
            self._set_kl_weight(i)
            self._set_learning_rate(i)
            yield (rows,)

    def batch(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        return self.batches(*arguments)

    def validate(self) -> float:
        """The bound on the validation set in nats a datum; NaN if there is none.

        The noise is the same each time.
        """
        if not self.data.valid:
            return math.nan
        images, total = self.data.valid.images, torch.zeros((), device=self.device)
        with fork_rng(self.device), evaluating(self.pair):
            torch.manual_seed(self.plan.seed)
            for x in images.split(max(self.plan.batch_size, VALIDATION_BATCH)):
                total += len(x) * loss_per_datum(self.pair, self.evidence_bound, (x,))
        return -float(total) / len(images)

    def _score(self) -> float:
        """The score that decides which weights are best, under the same noise each time."""
        with fork_rng(self.device), evaluating(self.pair):
            torch.manual_seed(self.plan.seed)
            score = self.plan.settings.valid_score
            return float(score(self.pair, self.data)) if score is not None else math.nan

    def _set_learning_rate(self, i: int) -> None:
        schedule = self.plan.settings.lr_schedule
        if schedule is None:
            return
        factor = schedule((self.epoch * self.steps_per_epoch + i) / self.total_steps)
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            if isinstance(group["lr"], Tensor):  # a captured step reads it on the device
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def _set_kl_weight(self, i: int) -> None:
        done, warmup = self.epoch + (i + 1) / self.steps_per_epoch, self.plan.kl_warmup
        self.kl_weight.fill_(self.kl_target * min(1.0, done / warmup if warmup else 1.0))
