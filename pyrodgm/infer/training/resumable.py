"""A training run that can go back to where it was, and say where it went wrong."""

import copy
import math
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from pyrodgm.infer.estimators.protocols import KLWeighted
from pyrodgm.infer.training.critic import Critic
from pyrodgm.infer.training.feeds.feed import Feed
from pyrodgm.infer.training.nonfinite import NonFiniteError, nonfinite_parameters, nonfinite_sites
from pyrodgm.infer.training.step import TrainStep
from pyrodgm.processes import broadcast_state, from_all, sharded_in, world

Row = dict[str, float]


class Resumable:
    """What changes while a run goes on, from one epoch to the next.

    A subclass sets ``objective``, ``step``, ``optimizer``, ``scheduler``, and ``critic`` where there are two players.

    Args:
        pair: The module with ``model`` and ``guide``.
        feed: Its data.

    Attributes:
        epoch: Number of whole epochs done.
        steps: Number of optimiser steps done.
        rows: Metrics of each epoch.
        seconds: Seconds that each of them took, validation included.
        best_epoch: The epoch with the best score so far, 0 before the first.
        best_bound: That score; higher is better.
        best_weights: The state of the pair after that epoch.
        shards: For each process, its own part of the pair's sharded buffers at the end of the last epoch; none where
            there are no such buffers, or a single process.
    """

    objective: Any
    step: TrainStep
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None
    critic: Critic | None = None
    keeps_last = False  # whether the best weights are those of the last epoch

    def __init__(self, pair: nn.Module, feed: Feed) -> None:
        self.pair, self.feed, self.device = pair, feed, next(pair.parameters()).device
        self.epoch, self.steps, self.best_epoch, self.best_bound = 0, 0, 0, -math.inf
        self.length = 0  # steps of the epoch that is under way
        self.rows: list[Row] = []
        self.seconds: list[float] = []
        self.best_weights: dict[str, Tensor] = {}
        self.sharded = sharded_in(pair)
        self.shards: list[dict[str, Tensor]] = []

    @property
    def kl_weight(self) -> float:
        """The KL weight of the objective by now; 1 where it has none."""
        return float(self.objective.kl_weight) if isinstance(self.objective, KLWeighted) else 1.0

    def set_kl_weight(self, weight: float | None) -> None:
        """Set it, if there is one and it is told."""
        if weight is not None and isinstance(self.objective, KLWeighted):
            self.objective.kl_weight.fill_(weight)

    def one_step(self, i: int) -> tuple[Tensor, int, int]:
        """Step ``i`` of the epoch: the loss per row of its batch, the number of rows, and that of data."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """State required to resume, in plain values and tensors."""
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "feed": self.feed.state(),
            "mode": self.step.mode,  # compiled steps round otherwise than traced ones
            "best_epoch": self.best_epoch,
            "best_bound": self.best_bound,
            "best_weights": self.best_weights,
            "kl_weight": self.kl_weight,
            "rows": self.rows,
            "seconds": self.seconds,
            "weights": dict(self.pair.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            **(self.critic.state() if self.critic else {}),
            **({"scaler": self.step.scaler.state_dict()} if self.step.scaler else {}),
            "cpu_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state` or :meth:`whole_state` returned."""
        state = copy.deepcopy(state)
        self.epoch, self.best_epoch, self.best_bound = state["epoch"], state["best_epoch"], state["best_bound"]
        self.best_weights, self.rows, self.seconds = state["best_weights"], state["rows"], state["seconds"]
        self.steps, self.step.mode = state["steps"], state["mode"]
        self.feed.load(state["feed"])
        self.set_kl_weight(state.get("kl_weight"))
        if self.step.scaler:
            self.step.scaler.load_state_dict(state["scaler"])
        self.step.forget()
        if self.critic:
            self.critic.load(state)
        self.pair.load_state_dict(state["weights"])
        if "shards" in state:
            self._deal(state["shards"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler:
            self.scheduler.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["cpu_rng"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)

    def whole_state(self) -> dict[str, Any]:
        """State required to resume, of all processes."""
        return {**self.state(), **({"shards": self.shards} if self.shards else {})}

    def share_state(self) -> None:
        """Let all processes begin where the first one is; each has a part of what is sharded."""
        if world().size > 1:
            self.load(broadcast_state(self.whole_state()))

    def gather_shards(self) -> None:
        """Let every process know the sharded buffers of all."""
        self.shards = []
        if self.sharded and world().size > 1:
            buffers = self.pair.state_dict()
            self.shards = from_all({name: buffers[name] for name in self.sharded})

    def _deal(self, shards: list[dict[str, Tensor]]) -> None:
        """Take the part of this process in what is sharded.

        Where there are more processes now than there were, some begin with the same, and part at the next draw; where
        there are fewer, the parts that are left over are dropped: each process has as many entries as before.
        """
        self.shards = shards
        self.pair.load_state_dict(shards[world().rank % len(shards)], strict=False)

    def best_of_first(self) -> dict[str, Tensor]:
        """The best weights, with the sharded buffers of the first process in all."""
        if not self.sharded or world().size == 1:
            return self.best_weights
        return {**self.best_weights, **broadcast_state({name: self.best_weights[name] for name in self.sharded})}

    def finish_epoch(self, row: Row, bound: float) -> None:
        """Record the epoch's metrics and best weights."""
        self.epoch += 1
        self.rows.append(row)
        if bound > self.best_bound or self.keeps_last:
            self.best_epoch, self.best_bound = self.epoch, bound
            self.best_weights = copy.deepcopy(dict(self.pair.state_dict()))

    def take_step(self, start: dict[str, Any], i: int) -> tuple[Tensor, int, int]:
        """Step ``i`` of the epoch that began at ``start``, as :meth:`one_step`."""
        try:
            return self.one_step(i)
        except (RuntimeError, ValueError):
            # A step may check its values, as the first on a batch of another shape does, before anybody else looks.
            if world().size == 1 and nonfinite_parameters(self.pair):  # other processes may have met no error
                self.find_fault(start)
            raise

    def find_fault(self, start: dict[str, Any]) -> NoReturn:
        """Run the epoch again from its start, looking at each step, and say where it went wrong."""
        last = self.steps
        self.load(start)
        first = self.steps
        unclear = ["the fault did not recur when the epoch was run again"]
        error = NonFiniteError(None, unclear, f"in the epoch that begins with step {first}")
        for i in range(min(last - first + 1, self.length)):
            before = copy.deepcopy(self.state())
            loss, _, _ = self.one_step(i)
            causes = nonfinite_parameters(self.pair)
            if causes or not math.isfinite(float(loss)):
                self.load(before)
                inputs = self.feed.next()
                with self.feed.context(*inputs):
                    found = nonfinite_sites(self.pair, self.objective, self.feed.arguments(*inputs))
                error = NonFiniteError(first + i, found or causes)
                break
        for parameter in self.pair.parameters():
            parameter.grad = None
        self.load(start)
        raise error
