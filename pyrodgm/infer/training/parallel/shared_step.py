"""What a training step does where several processes share its batch."""

import torch
from torch import Tensor

from pyrodgm.infer.tracing.contexts import unchanged
from pyrodgm.infer.tracing.graph import LossModule
from pyrodgm.infer.training.parallel.rows_of_batch import RowsOfBatch
from pyrodgm.processes import Share, World


def share_loss(module: LossModule, inputs: tuple[Tensor, ...], world: World) -> None:
    """Make the loss of a batch that of the rows of this process, a part of the whole.

    Args:
        module: The objective, which has been rehearsed.
        inputs: Those of the whole batch.
        world: The processes.
    """

    def run() -> None:
        with unchanged(module.pair, inputs[0].device), torch.enable_grad():
            module(None, *inputs)

    share = Share.of(len(inputs[0]), world)
    module.around, module.weight = RowsOfBatch.of(share, run), share.weight
