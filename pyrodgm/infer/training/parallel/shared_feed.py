"""Batches that several processes share."""

from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

import pyro.infer
import torch
from torch import Tensor, nn

from pyrodgm.infer.tracing.arguments import Batch, Keywords, first_tensor, split_arguments
from pyrodgm.infer.tracing.contexts import loss_per_datum, unchanged
from pyrodgm.infer.training.feeds.feed import Feed, Inputs
from pyrodgm.infer.training.feeds.validation import ValidBatches
from pyrodgm.infer.training.parallel.rows_of_batch import RowsOfBatch
from pyrodgm.processes import Share, World, all_sums, current_share


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
        self.feed, self.world = feed, world
        self.pass_length, self.measures, self.validates = feed.pass_length, feed.measures, feed.validates
        self.identity = feed.identity
        self.validating: dict[int, RowsOfBatch] = {}

    def next(self) -> Inputs:
        return self.feed.next()

    def arguments(self, *inputs: Tensor) -> Batch:
        return self.feed.arguments(*self._own(inputs))

    def context(self, *inputs: Tensor) -> AbstractContextManager[Any]:
        return self.feed.context(*self._own(inputs))

    def count(self, *inputs: Tensor) -> int:
        return self.feed.count(*inputs)

    def first(self) -> Inputs:
        return self.feed.first()

    def advance(self) -> None:
        self.feed.advance()

    def validate(self, pair: nn.Module, objective: pyro.infer.ELBO) -> tuple[float, dict[str, float]]:
        """The mean over all validation data, of which each process takes rows of every batch."""
        total, count = torch.zeros((), dtype=torch.float64), 0
        for batch in self.feed.valid() if self.feed.valid else ():
            size = len(first_tensor(batch))
            share = Share.of(size, self.world)
            if size not in self.validating:
                self.validating[size] = RowsOfBatch.of(share, partial(_try, pair, objective, batch))
            with self.validating[size]():
                loss = _loss(pair, objective, batch)
            total, count = total.to(loss.device) + size * share.weight * loss, count + size
        if not count:
            raise ValueError("the validation data must hold at least one datum, got none")
        bound = -float(all_sums([total])[0]) / count
        return bound, {"valid_bound": bound}

    def state(self) -> dict[str, Any]:
        return self.feed.state()

    def load(self, state: dict[str, Any]) -> None:
        self.feed.load(state)

    def _own(self, inputs: Inputs) -> Inputs:
        share = current_share()
        return inputs if share is None else tuple(x[share.rows] for x in inputs)


def _loss(pair: nn.Module, objective: pyro.infer.ELBO, batch: Batch) -> Tensor:
    """The loss per datum of the rows of the current share."""
    positional, keywords = split_arguments(batch)
    share = current_share()
    assert share is not None
    own = tuple(x[share.rows] for x in positional)
    if keywords:
        own = (*own, Keywords({name: x[share.rows] for name, x in keywords.items()}))
    return loss_per_datum(pair, objective, own)


def _try(pair: nn.Module, objective: pyro.infer.ELBO, batch: Batch) -> None:
    with unchanged(pair, first_tensor(batch).device):
        _loss(pair, objective, batch)
