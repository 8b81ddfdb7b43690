"""Code of the user's that runs at certain moments of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

Event = Literal["on_step", "on_epoch", "on_validate", "on_end"]


@dataclass(frozen=True)
class Moment:
    """Where training has come to.

    Attributes:
        pair: The pair, with its latest weights.
        epoch: Number of epochs done.
        step: Number of optimiser steps done.
        loss: Loss per datum of the last step, a tensor ``[]`` in nats that need not be finite; reading it waits for the
            device. None but in ``on_step``.
        metrics: The row of metrics of the epoch, empty in ``on_step``; that of the last epoch in ``on_end``.
        objective: The objective in use, a copy of that given to :func:`~pyrodgm.infer.fit`. Its attributes may be set;
            ``kl_weight`` is left as it is once a warm-up is over.
    """

    pair: nn.Module
    epoch: int
    step: int
    loss: Tensor | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    objective: Any = None


class Callback:
    """Base of callbacks: each method does nothing, and training stops once one returns True.

    Training that is stopped ends with a validation, like training that has come to its end; what a callback remembers
    is not part of the state from which a run is resumed.

    Example:
        >>> class StopBelow(Callback):
        ...     def on_validate(self, moment):
        ...         return moment.metrics["valid_bound"] > -20.0
    """

    def on_step(self, moment: Moment) -> bool | None:
        """After each optimiser step."""

    def on_validate(self, moment: Moment) -> bool | None:
        """After each validation, before the learning rate of the next epoch is set."""

    def on_epoch(self, moment: Moment) -> bool | None:
        """After each epoch, once its row of metrics is complete."""

    def on_end(self, moment: Moment) -> None:
        """At the end, once the pair has its best weights."""


def listening(callbacks: Sequence[Callback], event: Event) -> list[Callback]:
    """Those that do something at an event."""
    nothing = getattr(Callback, event)
    return [callback for callback in callbacks if getattr(getattr(callback, event), "__func__", None) is not nothing]


def call(callbacks: Sequence[Callback], event: Event, moment: Moment) -> bool:
    """Call all callbacks; whether one of them wants training to stop."""
    wishes = [getattr(callback, event)(moment) for callback in callbacks]  # all are called
    return True in wishes
