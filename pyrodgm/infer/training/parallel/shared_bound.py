"""The bound of data that several processes share."""

from collections.abc import Iterable
from functools import partial

import pyro.infer
import torch
from torch import Tensor, nn

from pyrodgm.infer.tracing.arguments import Batch, Keywords, first_tensor, split_arguments
from pyrodgm.infer.tracing.contexts import loss_per_datum, unchanged
from pyrodgm.infer.tracing.kept_calls import afresh
from pyrodgm.infer.training.parallel.log_partitions import estimate_log_partitions
from pyrodgm.infer.training.parallel.rows_of_batch import RowsOfBatch
from pyrodgm.processes import Share, World, all_sums, current_share


class SharedBound:
    """The bound of an objective in nats per datum, of which each process takes rows of every batch.

    Args:
        world: The processes.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.known: dict[int, RowsOfBatch] = {}

    def __call__(self, pair: nn.Module, objective: pyro.infer.ELBO, batches: Iterable[Batch]) -> float:
        """The mean over all data, the same in all processes; always of the same pair, in evaluation mode.

        Raises:
            ValueError: If there are no data.
        """
        if self.world.size > 1:
            estimate_log_partitions(pair)
        total, count = torch.zeros((), dtype=torch.float64), 0
        for batch in batches:
            size = len(first_tensor(batch))
            share = Share.of(size, self.world)
            if not self.known:  # estimators look at the plates of a program when they first meet it
                _try(pair, objective, batch)
            if size not in self.known:
                self.known[size] = RowsOfBatch.of(share, partial(_try, pair, objective, batch))
            with self.known[size]():
                loss = loss_per_datum(pair, objective, own_rows(batch))
            total, count = total.to(loss.device) + size * share.weight * loss, count + size
        if not count:
            raise ValueError("the validation data must hold at least one datum, got none")
        return -float(total if self.world.size == 1 else all_sums([total])[0]) / count


def own_rows(batch: Batch) -> Batch:
    """The arguments for the rows of the current share; all where there is none."""
    share = current_share()
    if share is None:
        return batch
    positional, keywords = split_arguments(batch)
    own: tuple[Tensor, ...] = tuple(x[share.rows] for x in positional)
    return (*own, Keywords({name: x[share.rows] for name, x in keywords.items()})) if keywords else own


def _try(pair: nn.Module, objective: pyro.infer.ELBO, batch: Batch) -> None:
    with unchanged(pair, first_tensor(batch).device), afresh():  # so that all that may run is met
        loss_per_datum(pair, objective, own_rows(batch))
