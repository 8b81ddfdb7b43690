"""Whole numbers as the programs take them: as symbols, which index, or as counts, which are multiplied."""

from typing import Any

import torch
from torch import Tensor, nn

from pyrodgm.infer.tracing.arguments import Batch, Keywords, first_tensor, split_arguments
from pyrodgm.infer.tracing.contexts import evaluating, unchanged
from pyrodgm.infer.training.feeds.trial import try_model


def become_real(pair: nn.Module, batch: Batch, dtype: torch.dtype) -> bool:
    """Whether whole numbers in the first argument must become floating-point numbers for the programs to run.

    They stay where the programs run on them, and where these run on neither.

    Args:
        pair: A module with ``model`` and ``guide``.
        batch: Arguments, of which one datum is tried.
        dtype: The dtype that they would get.
    """
    if first_tensor(batch).dtype != torch.int64:
        return False
    positional, keywords = split_arguments(batch)
    one = [x[:1] for x in positional], {name: x[:1] for name, x in keywords.items()}
    batch = (*one[0], Keywords(one[1])) if keywords else tuple(one[0])
    return not _runs(pair, batch) and _runs(pair, with_first(batch, dtype))


def with_first(batch: Batch, dtype: torch.dtype) -> Batch:
    """A batch whose first argument has another dtype."""
    positional, keywords = split_arguments(batch)
    if not positional:
        name = next(iter(keywords))
        return (Keywords({**keywords, name: keywords[name].to(dtype)}),)
    first: tuple[Tensor, ...] = (positional[0].to(dtype), *positional[1:])
    return (*first, Keywords(keywords)) if keywords else first


def _runs(pair: Any, batch: Batch) -> bool:
    positional, keywords = split_arguments(batch)
    with evaluating(pair), unchanged(pair, first_tensor(batch).device):
        try:
            try_model(pair, *positional, **keywords)
        except Exception:  # of a product of mixed kinds, or one that training will raise and explain
            return False
    return True
