"""The arguments that model and guide are called with."""

from typing import Any, TypeAlias

from torch import Tensor

from pyrodgm.infer.tracing._compat import tree_leaves


class Keywords(dict[str, Any]):
    """Keyword arguments of model and guide, at the end of a batch."""


Batch: TypeAlias = tuple[Any, ...]
"""Positional arguments of model and guide, of which the last may be :class:`Keywords`."""


def split_arguments(batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a batch.

    Example:
        >>> split_arguments((1, 2, Keywords(mask=3)))
        ((1, 2), {'mask': 3})
    """
    if batch and isinstance(batch[-1], Keywords):
        return batch[:-1], dict(batch[-1])
    return batch, {}


def first_tensor(batch: Batch) -> Tensor:
    """The first tensor of a batch, whose length is the number of data.

    Raises:
        TypeError: If there is none.
    """
    positional, keywords = split_arguments(batch)
    for leaf in tree_leaves((*positional, *keywords.values())):
        if isinstance(leaf, Tensor):
            return leaf
    raise TypeError(f"a batch must hold a tensor, got {[type(part).__name__ for part in batch]}")
