"""The bound on validation data of any kind."""

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pyro.infer
import torch
from torch import nn

from pyrodgm.infer.tracing.arguments import Batch, first_tensor
from pyrodgm.infer.tracing.contexts import loss_per_datum

ValidBatches: TypeAlias = Callable[[], Iterator[Batch]]
"""Gives the arguments of model and guide for all validation data, batch by batch."""

VALIDATION_BATCH = 500  # without gradients there is room for more than a training batch


def valid_bound(pair: nn.Module, objective: pyro.infer.ELBO, batches: ValidBatches | None) -> float:
    """The bound of an objective in nats per datum; NaN without data.

    Raises:
        ValueError: If there are validation data, but none in them.
    """
    if batches is None:
        return math.nan
    total, count = torch.zeros(()), 0
    for batch in batches():
        size, loss = len(first_tensor(batch)), loss_per_datum(pair, objective, batch)
        total, count = total.to(loss.device) + size * loss, count + size
    if not count:
        raise ValueError("the validation data must hold at least one datum, got none")
    return -float(total) / count
