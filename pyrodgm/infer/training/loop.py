"""A training run: everything that changes while it goes on, and how."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from pyrodgm.infer.estimators.adversarial.objective import AdversarialObjective, without_critic
from pyrodgm.infer.estimators.protocols import KLWeighted
from pyrodgm.infer.tracing.arguments import called_with
from pyrodgm.infer.tracing.contexts import evaluating, fork_rng, frozen_parts
from pyrodgm.infer.tracing.precision import layers_in
from pyrodgm.infer.training.callbacks import Event, Moment, call, listening
from pyrodgm.infer.training.critic import Critic
from pyrodgm.infer.training.feeds.feed import Feed, Inputs
from pyrodgm.infer.training.nonfinite import NonFiniteError, nonfinite_parameters
from pyrodgm.infer.training.parallel.callback_changes import call_in_first
from pyrodgm.infer.training.refusals import check_made, refuse_local_autoguides
from pyrodgm.infer.training.rehearsal import rehearse
from pyrodgm.infer.training.resumable import Resumable, Row
from pyrodgm.infer.training.schedules import point_upwards
from pyrodgm.infer.training.settings import Plan, Precision
from pyrodgm.infer.training.step import TrainStep
from pyrodgm.processes import from_first, world

Tick: TypeAlias = Callable[[int, float], None]

HALF: dict[Precision, torch.dtype] = {"bf16-mixed": torch.bfloat16, "fp16-mixed": torch.float16}
CHECK_EVERY = 100  # steps between two looks at the losses, each of which waits for the device


@dataclass
class Epoch:
    """An epoch that is under way.

    Attributes:
        began: When it began, in seconds of a clock.
        start: The state at its beginning.
        losses: Loss per row of each step's batch.
        sizes: Rows of each batch.
        counts: Data of each batch.
        checked: Steps that were looked at.
        bound: Mean bound in nats of their data.
    """

    began: float
    start: dict[str, Any]
    losses: Tensor
    sizes: Tensor
    counts: Tensor
    checked: int = 0
    bound: float = math.nan


class Training(Resumable):
    """The state of a run and the epochs that change it; :func:`pyrodgm.infer.fit` drives it.

    An epoch is a pass over the training data, or ``steps_per_epoch`` steps.

    Args:
        pair: The module with ``model`` and ``guide``.
        feed: Its data.
        plan: The options.
        score: Measured at each validation in place of the bound to decide which weights are best.
    """

    def __init__(self, pair: nn.Module, feed: Feed, plan: Plan, score: Callable[[], float] | None = None) -> None:
        super().__init__(pair, feed)
        if not pair.training:  # else parts that are in evaluation mode are meant to be
            pair.train()
        objective, settings = plan.objective, plan.settings
        objective = objective.of(pair) if isinstance(objective, AdversarialObjective) else objective
        self.plan, self.score, self.kl_target = plan, score, 1.0
        self.objective, self.evidence_bound = copy.copy(objective), copy.copy(objective)
        if isinstance(objective, KLWeighted):
            self.kl_target = float(objective.kl_weight)
            self.objective.kl_weight = torch.full((), self.kl_target, device=self.device)
            self.evidence_bound.kl_weight = torch.ones((), device=self.device)
        self.steps_per_epoch, self.epochs, self.total_steps = plan.lengths(feed.pass_length)
        self._rehearse(self.evidence_bound)  # before there is an optimiser: some parts make their parameters at a call
        self.stopped, team = False, world()
        groups: Any = settings.parameter_groups(pair)
        if isinstance(self.objective, AdversarialObjective):
            self.critic = Critic(pair, self.objective, plan, feed, self._context, self.total_steps)
            self._rehearse(self.critic.step.objective)
            groups = without_critic(pair)
            self.keeps_last = score is None
        self.optimizer = plan.optimizer(groups)
        check_made(self.optimizer, None)
        self.base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.scheduler = settings.lr_scheduler(self.optimizer) if settings.lr_scheduler else None
        check_made(self.optimizer, self.scheduler)
        self.step = TrainStep(
            pair,
            self.objective,
            self.optimizer,
            settings.clip_grad_norm,
            settings.compile,
            self.total_steps,
            feed.arguments,
            self._context,
            team if team.size > 1 else None,
            torch.amp.GradScaler(self.device.type) if settings.precision == "fp16-mixed" else None,
            nn.Module.parameters if self.critic is None else without_critic,
        )

    def _rehearse(self, objective: Any) -> None:
        with fork_rng(self.device):
            first = self.feed.first()
            batch = self.feed.arguments(*first)
            with self._context(*first), frozen_parts((False,)), called_with(batch):
                rehearse(self.pair, objective, batch)
                refuse_local_autoguides(self.pair, batch)

    @property
    def finished(self) -> bool:
        """Whether there are no steps left."""
        return self.stopped or self.steps >= self.total_steps

    @property
    def has_ended(self) -> bool:
        """Whether there are no steps left, or none is better any more."""
        patience, after = self.plan.patience, max(self.best_epoch, math.ceil(self.plan.kl_warmup))
        waited = patience is not None and self.epoch - after >= patience and self.validates(self.epoch)
        return self.finished or waited

    def run_epoch(self, tick: Tick = lambda steps, bound: None) -> Row:
        """Train for one epoch and validate if it is time; returns the row of metrics, which is also kept.

        Args:
            tick: Called every hundred steps with the number of steps since the last call and the running bound.
        """
        epoch = self.begin_epoch()
        for i in range(self.length):
            epoch.losses[i], epoch.sizes[i], epoch.counts[i] = self.take_step(epoch.start, i)
            if self.look(epoch, i, tick):
                break
        return self.end_epoch(epoch)

    def begin_epoch(self) -> Epoch:
        """Where an epoch begins, of ``self.length`` steps."""
        began, start = time.perf_counter(), copy.deepcopy(self.state())
        self.length = min(self.steps_per_epoch, self.total_steps - self.steps)
        losses = torch.zeros(self.length, device=self.device)
        if self.critic is not None:
            self.critic.begin_epoch()
        return Epoch(began, start, losses, torch.empty(self.length), torch.empty(self.length))

    def look(self, epoch: Epoch, i: int, tick: Tick) -> bool:
        """Look at step ``i``, whose loss is noted; whether it was the last one of the epoch."""
        self.stopped = self._call("on_step", epoch.losses[i])
        done = self.stopped or i + 1 == self.length
        if (i + 1) % CHECK_EVERY == 0 or done:
            total = float((epoch.losses[: i + 1] * epoch.sizes[: i + 1].to(self.device)).sum())
            if not math.isfinite(total):
                self.find_fault(epoch.start)
            epoch.bound = -total / float(epoch.counts[: i + 1].sum())
            tick(i + 1 - epoch.checked, epoch.bound)
            epoch.checked = i + 1
        return done

    def end_epoch(self, epoch: Epoch) -> Row:
        """Validate if it is time; returns the row of metrics, which is also kept."""
        if nonfinite_parameters(self.pair):
            self.find_fault(epoch.start)
        row = {
            "epoch": self.epoch + 1,
            "step": self.steps,
            "kl_weight": self.kl_weight,
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "train_bound": epoch.bound,
        }
        if self.critic is not None:
            row["critic_loss"] = self.critic.loss
        score = self._validate(epoch.start, row)
        self.seconds.append(time.perf_counter() - epoch.began)
        self._schedule(score)
        self.finish_epoch(row, score)
        self.gather_shards()
        self.stopped |= self._call("on_epoch")
        return row

    def validates(self, epoch: int) -> bool:
        """Whether there is a validation after this epoch, the first being 1."""
        return epoch % self.plan.settings.valid_every == 0 or epoch == self.epochs or self.finished

    def schedule_step(self, i: int) -> None:
        """Set the KL weight and the learning rates for step ``i`` of the epoch."""
        done, warmup = self.epoch + (i + 1) / self.steps_per_epoch, self.plan.kl_warmup
        if self.epoch + i / self.steps_per_epoch < warmup:  # afterwards it is the callbacks' to set
            self.set_kl_weight(self.kl_target * min(1.0, done / warmup))
        self._set_learning_rate(i)

    def one_step(self, i: int) -> tuple[Tensor, int, int]:
        self.schedule_step(i)
        rows, data = 0, 0

        def batches() -> Iterator[Inputs]:
            nonlocal rows, data
            for _ in range(self.plan.settings.accumulate):
                inputs = self.feed.next()
                rows, data = rows + len(inputs[0]), data + self.feed.count(*inputs)
                yield inputs
                self.feed.advance()

        if self.critic is not None:
            self.steps += 1
            return self.critic.round(self.step)
        if self.plan.settings.accumulate > 1:
            loss = self.step.on_batches(batches())
        else:
            for inputs in batches():
                loss = self.step(*inputs)
        self.steps += 1
        return loss, rows, data

    def _validate(self, start: dict[str, Any], row: Row) -> float:
        """Add the validation to the row of metrics; returns the score that decides which weights are best."""
        if not self.validates(self.epoch + 1):
            names = [*self.feed.measures, *(["valid_score"] if self.score else [])]
            row.update(dict.fromkeys(names, math.nan))
            return row["train_bound"] if not self.feed.validates and self.score is None else math.nan
        row.update(dict.fromkeys(self.feed.measures, math.nan))
        score = row["train_bound"]
        if self.feed.validates:
            with fork_rng(self.device), evaluating(self.pair):
                torch.manual_seed(self.plan.seed)
                score, measured = self.feed.validate(self.pair, self.evidence_bound)
            score = from_first(score)
            row.update({name: from_first(value) for name, value in measured.items()})
        if self.score is not None:
            with fork_rng(self.device), evaluating(self.pair):
                torch.manual_seed(self.plan.seed)
                score = row["valid_score"] = from_first(float(self.score()))
        required = [*(self.feed.measures if self.feed.validates else []), *(["valid_score"] if self.score else [])]
        wrong = [f"{name} is {row[name]}" for name in required if not math.isfinite(row[name])]
        if wrong:
            self.load(start)
            raise NonFiniteError(None, wrong)
        self.stopped |= self._call("on_validate", metrics=row)
        return score

    def _schedule(self, score: float) -> None:
        """Step the scheduler, which gets the score if it waits for a plateau."""
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            if not math.isnan(score):
                point_upwards(self.scheduler)
                self.scheduler.step(score)
        elif self.scheduler is not None:
            self.scheduler.step()

    def _call(self, event: Event, loss: Tensor | None = None, metrics: Row | None = None) -> bool:
        callbacks = listening(self.plan.settings.callbacks, event)
        if not callbacks:
            return False
        if metrics is None and loss is None and self.rows:
            metrics = self.rows[-1]
        moment = Moment(self.pair, self.epoch, self.steps, loss, metrics or {}, self.objective)
        stops = call_in_first(lambda: call(callbacks, event, moment), self.pair, self.objective)
        self.set_kl_weight(from_first(self.kl_weight) if world().size > 1 else None)
        return stops

    def end(self) -> None:
        """Give the pair its best weights, in evaluation mode, and tell the callbacks."""
        self.pair.load_state_dict(self.best_of_first())
        self.pair.eval()
        self._call("on_end")

    def _context(self, *inputs: Tensor) -> ExitStack:
        with ExitStack() as stack:
            stack.enter_context(self.feed.context(*inputs))
            if self.plan.settings.precision is not None:
                stack.enter_context(layers_in(HALF[self.plan.settings.precision]))
            return stack.pop_all()

    def _set_learning_rate(self, i: int) -> None:
        schedule = self.plan.settings.lr_schedule
        if schedule is None:
            return
        factor = schedule((self.epoch * self.steps_per_epoch + i) / self.total_steps)
        rates = [(self.optimizer, self.base_rates)]
        rates += [(self.critic.optimizer, self.critic.base_rates)] if self.critic else []
        for optimizer, base_rates in rates:
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                if isinstance(group["lr"], Tensor):  # a captured step reads it on the device
                    group["lr"].fill_(rate * factor)
                else:
                    group["lr"] = rate * factor
