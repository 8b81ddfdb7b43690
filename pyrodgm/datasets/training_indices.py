"""Which rows of the training data a step sees, for parts that must know."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from torch import Tensor

from pyrodgm.arithmetic.arguments import tensors, whole_number
from pyrodgm.processes import current_share


@dataclass(frozen=True)
class Rows:
    """Rows of the training data.

    Attributes:
        index: Row numbers ``[batch]``, in the order of the batch; those of this process where several share a batch.
        total: Number of rows of the training data.
        batch: Row numbers of the whole batch.
    """

    index: Tensor
    total: int
    batch: Tensor


_rows: ContextVar[Rows | None] = ContextVar("rows", default=None)


@contextmanager
def training_rows(index: Tensor, total: int) -> Iterator[None]:
    """Context in which the batch holds these rows of the training data; :func:`pyrodgm.infer.fit` trains in it.

    Args:
        index: Row numbers ``[batch]``, in the order of the batch.
        total: Number of rows of the training data.

    Example:
        >>> import torch
        >>> with training_rows(torch.tensor([3, 1]), total=5):
        ...     current_rows().index
        tensor([3, 1])
        >>> current_rows() is None
        True
    """
    tensors(index=index)
    token = _rows.set(Rows(index, whole_number("total", total), index))
    try:
        yield
    finally:
        _rows.reset(token)


def current_rows() -> Rows | None:
    """The rows of the innermost :func:`training_rows`; None outside."""
    rows, share = _rows.get(), current_share()
    return rows if rows is None or share is None else replace(rows, index=rows.batch[share.rows])
