"""Evaluation of batches whose rows are split among processes."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor, nn

from pyrodgm.infer.tracing.arguments import Batch, first_tensor
from pyrodgm.infer.tracing.contexts import unchanged
from pyrodgm.infer.training.parallel.rows_of_batch import RowsOfBatch
from pyrodgm.infer.training.parallel.shared_bound import own_rows
from pyrodgm.processes import Share, gather_rows, sharing, world

K = TypeVar("K")


def on_all_rows(run: Callable[[Batch], Mapping[K, Tensor]], pair: nn.Module, batch: Batch) -> Mapping[K, Tensor]:
    """Run a function on a batch, with the rows split among the processes; each process gets the gathered result.

    Args:
        run: Returns tensors with a row for each datum; the shapes of its random draws follow the number of rows.
        pair: The pair that ``run`` evaluates.
        batch: The arguments of the pair's programs.
    """
    team, device = world(), first_tensor(batch).device
    if team.size == 1:
        return run(batch)

    def attempt() -> None:
        with unchanged(pair, device):
            run(own_rows(batch))

    share = Share.of(len(first_tensor(batch)), team)
    with RowsOfBatch.of(share, attempt)():
        parts = run(own_rows(batch))
    with sharing(share):
        return {name: gather_rows(part) for name, part in parts.items()}
