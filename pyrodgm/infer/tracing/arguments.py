"""The arguments that model and guide are called with."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from torch import Tensor

from pyrodgm.errors import PyrodgmError
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


def check_arguments(pair: Any, batch: Batch, data: str = "data") -> None:
    """Require model and guide to take the arguments of a batch, of what errors call ``data``.

    Raises:
        TypeError: If one of them does not; names the arguments.
    """
    args, kwargs = split_arguments(batch)
    for program in (pair.model, pair.guide):
        signature = inspect.signature(program)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            name = getattr(program, "__name__", type(program).__name__)
            raise TypeError(
                f"{data} must be the arguments of model and guide, called as {name}({_shapes(batch)}), but "
                f"{name}{signature} has {error}: pass a tuple or a dict of tensors, or a collate_fn to the DataLoader"
            ) from None


@contextmanager
def called_with(batch: Batch, data: str = "data") -> Iterator[None]:
    """Context that runs the programs on a batch; their errors get a note with the name and shapes of the data.

    Errors of the library name a site or an argument already.
    """
    try:
        yield
    except PyrodgmError:
        raise
    except Exception as error:
        error.add_note(f"{data}: model and guide were called with ({_shapes(batch)}), rows as given, nothing reshaped")
        raise


def _shapes(batch: Batch) -> str:
    """The arguments of a call, of very many the first and the number."""
    args, kwargs = split_arguments(batch)
    given = [*map(_shape, args), *(f"{name}={_shape(value)}" for name, value in kwargs.items())]
    return ", ".join(given if len(given) <= 8 else [*given[:3], f"... {len(given)} arguments"])


def _shape(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def require_batch(inputs: tuple[Any, ...]) -> None:
    """Raise for what is no batch of a step: tensors, at least one, the first with a datum."""
    if not (inputs and all(isinstance(x, Tensor) for x in inputs)):
        raise TypeError(f"batch must be tensors, at least one, got {[type(x).__name__ for x in inputs]}")
    if not inputs[0].dim() or len(inputs[0]) == 0:
        raise ValueError(f"batch must hold at least one datum, got shape {list(inputs[0].shape)}")
