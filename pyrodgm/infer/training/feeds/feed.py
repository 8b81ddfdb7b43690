"""What the training loop asks of its data."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyro.infer
from torch import Tensor, nn

from pyrodgm.infer.tracing.arguments import Batch

Inputs = tuple[Tensor, ...]


class Feed(Protocol):
    """Batches without end, pass after pass over the training data, and the validation.

    The loop calls :meth:`next` for the inputs of each batch, runs the programs on ``arguments(*inputs)`` within
    ``context(*inputs)`` (both are part of the traced step), and then calls :meth:`advance`.

    Attributes:
        pass_length: Number of batches in one pass over the training data; None where that is unknown.
        measures: Names of what :meth:`validate` measures; the first is ``"valid_bound"``.
        validates: Whether there are validation data.
        identity: What must be the same for a run to be resumed, by name, in plain values.
    """

    pass_length: int | None
    measures: tuple[str, ...]
    validates: bool
    identity: dict[str, Any]

    def next(self) -> Inputs:
        """The inputs of the next batch, tensors on the device."""
        ...

    def arguments(self, *inputs: Tensor) -> Batch:
        """What model and guide are called with."""
        ...

    def context(self, *inputs: Tensor) -> AbstractContextManager[Any]:
        """What they run in."""
        ...

    def count(self, *inputs: Tensor) -> int:
        """Number of data in a batch, of which the mean bound is reported."""
        ...

    def first(self) -> Inputs:
        """Inputs of the shape of the first batch, for a rehearsal; nothing is used up."""
        ...

    def advance(self) -> None:
        """Get ready for the next batch once the step on the last one is done."""
        ...

    def validate(self, pair: nn.Module, objective: pyro.infer.ELBO) -> tuple[float, dict[str, float]]:
        """The score that decides which weights are best (the highest), and all ``measures``; NaN without data."""
        ...

    def state(self) -> dict[str, Any]:
        """Plain values and tensors from which :meth:`load` finds back to this place."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Go to the place that :meth:`state` described."""
        ...


class Validation(Protocol):
    """Validation data of any kind."""

    def batches(self) -> Iterator[Batch]:
        """The arguments of model and guide for all data, batch by batch."""
        ...
