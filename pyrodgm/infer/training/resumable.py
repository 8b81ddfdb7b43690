"""A training run that can go back to where it was, and say where it went wrong."""

import copy
import math
from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from pyrodgm.infer.training.nonfinite import NonFiniteError, nonfinite_parameters, nonfinite_sites
from pyrodgm.infer.training.step import TrainStep

Row = dict[str, float]


class Resumable:
    """What changes while a run goes on, from one validation to the next ("epoch" here, whatever its length).

    A subclass sets ``pair``, ``objective``, ``step``, ``optimizer``, ``scheduler`` and ``device``.

    Attributes:
        epoch: Number of whole epochs done.
        rows: Metrics of each of them.
        seconds: Seconds that each of them took, validation included.
        best_epoch: The epoch with the best bound so far, 0 before the first.
        best_bound: That bound, or what else decides which weights are best; higher is better.
        best_weights: The state of the pair after that epoch.
    """

    pair: nn.Module
    objective: Any
    step: TrainStep
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None
    device: torch.device

    def __init__(self) -> None:
        self.epoch, self.best_epoch, self.best_bound = 0, 0, -math.inf
        self.rows: list[Row] = []
        self.seconds: list[float] = []
        self.best_weights: dict[str, Tensor] = {}

    @property
    def steps(self) -> int:
        """Number of optimiser steps at the end of the last whole epoch."""
        raise NotImplementedError

    def arguments(self) -> Iterator[tuple[Tensor, ...]]:
        """What each step of the next epoch is called with; weights and rates are set when it is asked for."""
        raise NotImplementedError

    def batch(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """What model and guide are called with in the step that is called with these arguments."""
        return arguments

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

    def finish_epoch(self, row: Row, bound: float) -> None:
        """Keep what an epoch brought."""
        self.epoch += 1
        self.rows.append(row)
        if bound > self.best_bound:
            self.best_epoch, self.best_bound = self.epoch, bound
            self.best_weights = copy.deepcopy(dict(self.pair.state_dict()))

    def take_step(self, start: dict[str, Any], *arguments: Tensor) -> Tensor:
        """A step of the epoch that began at ``start``, and its loss."""
        try:
            return self.step(*arguments)
        except (RuntimeError, ValueError):
            # A step may check its values, as the first on a batch of another shape does, before anybody else looks.
            if nonfinite_parameters(self.pair):
                self.find_fault(start)
            raise

    def find_fault(self, start: dict[str, Any]) -> NoReturn:
        """Run the epoch again from its start, looking at each step, and say where it went wrong."""
        self.load(start)
        first = self.steps
        unclear = ["the fault did not recur when the epoch was run again"]
        error = NonFiniteError(None, unclear, f"in the epoch that begins with step {first}")
        self.pair.train()
        for i, arguments in enumerate(self.arguments()):
            before = copy.deepcopy(self.state())
            loss = self.step(*arguments)
            causes = nonfinite_parameters(self.pair)
            if causes or not math.isfinite(float(loss)):
                self.load(before)
                causes = nonfinite_sites(self.pair, self.objective, self.batch(*arguments)) or causes
                error = NonFiniteError(first + i, causes)
                break
        self.optimizer.zero_grad(set_to_none=True)
        self.load(start)
        raise error
