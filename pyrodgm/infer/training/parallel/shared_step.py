"""What a training step does where several processes share its batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pyrodgm.infer.tracing.arguments import Batch
from pyrodgm.infer.tracing.contexts import unchanged
from pyrodgm.infer.tracing.graph import LossModule
from pyrodgm.infer.training.parallel.batch_norm import SeenNorms
from pyrodgm.infer.training.parallel.rows_of_batch import RowsOfBatch
from pyrodgm.infer.training.parallel.sites_of_rows import check_sites
from pyrodgm.infer.training.parallel.split_stream import share_of
from pyrodgm.processes import Share, World, alone, sharing


def share_loss(module: LossModule, inputs: tuple[Tensor, ...], world: World) -> None:
    """Make the loss of a batch that of the rows of this process, a part of the whole.

    Args:
        module: The objective, which has been rehearsed.
        inputs: Those of the whole batch.
        world: The processes.

    Raises:
        ValueError: If a term of the bound belongs to no row of the batch.
    """

    def run() -> None:
        with unchanged(module.pair, inputs[0].device), torch.enable_grad():
            module(None, *inputs)

    @contextmanager
    def batch_of(rows: int) -> Iterator[Batch]:
        with alone(), sharing(Share(0, rows, share.total)), module.context(*inputs), SeenNorms():
            yield module.prepare(*inputs)

    share = share_of(inputs, world)
    if share.count < share.total:
        with unchanged(module.pair, inputs[0].device), torch.no_grad():
            check_sites(module.pair, batch_of, share.count)
    module.around, module.weight = RowsOfBatch.of(share, run), share.weight
