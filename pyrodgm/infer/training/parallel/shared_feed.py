"""Batches that several processes share."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyro.infer
from torch import Tensor, nn

from pyrodgm.infer.tracing.arguments import Batch
from pyrodgm.infer.training.feeds.feed import Inputs
from pyrodgm.infer.training.feeds.validation import ValidBatches
from pyrodgm.infer.training.parallel.shared_bound import SharedBound
from pyrodgm.processes import Share, World, current_share


class RowFeed(Protocol):
    """A feed whose inputs have the rows of a batch along their first dimension; see :class:`Feed`."""

    pass_length: int | None
    measures: tuple[str, ...]
    validates: bool
    identity: dict[str, Any]

    def next(self) -> Inputs: ...

    def arguments(self, *inputs: Tensor) -> Batch: ...

    def context(self, *inputs: Tensor) -> AbstractContextManager[Any]: ...

    def count(self, *inputs: Tensor) -> int: ...

    def first(self) -> Inputs: ...

    def advance(self) -> None: ...

    def state(self) -> dict[str, Any]: ...

    def load(self, state: dict[str, Any]) -> None: ...


Validate = Callable[[nn.Module, pyro.infer.ELBO], tuple[float, dict[str, float]]]


def bound_of(valid: ValidBatches | None, world: World) -> Validate:
    """Validation by the bound, of whose data the processes share the rows."""
    shared = SharedBound(world)

    def measure(pair: nn.Module, objective: pyro.infer.ELBO) -> tuple[float, dict[str, float]]:
        bound = shared(pair, objective, valid() if valid else ())
        return bound, {"valid_bound": bound}

    return measure


def own_rows_of_batch(inputs: Inputs, share: Share) -> Inputs:
    """The rows of a share of inputs that have all rows of a batch."""
    return tuple(x[share.rows] for x in inputs)


class SharedFeed:
    """A feed of the same batches in all processes, of which the programs see the rows of the current share, or all.

    Args:
        feed: The batches; each process has its own, made with the same random state.
        measure: The validation, by all processes.
        own: Picks the rows of a share from the inputs of the feed.
    """

    def __init__(
        self, feed: RowFeed, measure: Validate, own: Callable[[Inputs, Share], Inputs] = own_rows_of_batch
    ) -> None:
        self.feed, self.measure, self.own = feed, measure, own
        self.pass_length, self.measures, self.validates = feed.pass_length, feed.measures, feed.validates
        self.identity = feed.identity

    def next(self) -> Inputs:
        return self.feed.next()

    def arguments(self, *inputs: Tensor) -> Batch:
        total = len(inputs[0])
        return self.feed.arguments(*self.own(inputs, current_share() or Share(0, total, total)))

    def context(self, *inputs: Tensor) -> AbstractContextManager[Any]:
        return self.feed.context(*inputs)  # which looks at the share itself

    def count(self, *inputs: Tensor) -> int:
        return self.feed.count(*inputs)

    def first(self) -> Inputs:
        return self.feed.first()

    def advance(self) -> None:
        self.feed.advance()

    def validate(self, pair: nn.Module, objective: pyro.infer.ELBO) -> tuple[float, dict[str, float]]:
        return self.measure(pair, objective)

    def state(self) -> dict[str, Any]:
        return self.feed.state()

    def load(self, state: dict[str, Any]) -> None:
        self.feed.load(state)
