"""Batches that several processes share."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyro.infer
from torch import Tensor, nn

from pyrodgm.infer.tracing.arguments import Batch
from pyrodgm.infer.training.feeds.feed import Feed, Inputs
from pyrodgm.infer.training.feeds.validation import ValidBatches
from pyrodgm.infer.training.parallel.shared_bound import SharedBound
from pyrodgm.processes import World, current_share


class RowFeed(Feed, Protocol):
    """A feed whose inputs have the rows of a batch along their first dimension."""

    valid: ValidBatches | None


class SharedFeed:
    """A feed of the same batches in all processes, of which the programs see the rows of the current share, or all.

    Args:
        feed: The batches; each process has its own, made with the same random state.
        world: The processes.
    """

    def __init__(self, feed: RowFeed, world: World) -> None:
        self.feed = feed
        self.pass_length, self.measures, self.validates = feed.pass_length, feed.measures, feed.validates
        self.identity = feed.identity
        self.bound = SharedBound(world)

    def next(self) -> Inputs:
        return self.feed.next()

    def arguments(self, *inputs: Tensor) -> Batch:
        return self.feed.arguments(*self._own(inputs))

    def context(self, *inputs: Tensor) -> AbstractContextManager[Any]:
        return self.feed.context(*inputs)  # which looks at the share itself

    def count(self, *inputs: Tensor) -> int:
        return self.feed.count(*inputs)

    def first(self) -> Inputs:
        return self.feed.first()

    def advance(self) -> None:
        self.feed.advance()

    def validate(self, pair: nn.Module, objective: pyro.infer.ELBO) -> tuple[float, dict[str, float]]:
        bound = self.bound(pair, objective, self.feed.valid() if self.feed.valid else ())
        return bound, {"valid_bound": bound}

    def state(self) -> dict[str, Any]:
        return self.feed.state()

    def load(self, state: dict[str, Any]) -> None:
        self.feed.load(state)

    def _own(self, inputs: Inputs) -> Inputs:
        share = current_share()
        return inputs if share is None else tuple(x[share.rows] for x in inputs)
