"""Adapts data of several arguments, or of integers, to evaluations that take one floating-point tensor."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import tensors
from pyrodgm.datasets import Split
from pyrodgm.infer.tracing.arguments import Batch, check_arguments, split_arguments
from pyrodgm.infer.tracing.contexts import evaluating
from pyrodgm.infer.training.feeds.columns import Columns, as_argument, device_and_dtype, from_array, is_in_memory
from pyrodgm.infer.training.feeds.make import batches_of
from pyrodgm.infer.training.feeds.support import check_support

BATCH = 1000  # number of data read from a stream at once


class ByRow(nn.Module):
    """Wraps a pair to take row numbers ``[N]`` of data in memory, as floating-point numbers, as its one argument.

    Args:
        pair: A module with ``model`` and ``guide``.
        columns: The arguments of both programs for all data.
    """

    pair: Any

    def __init__(self, pair: nn.Module, columns: Columns) -> None:
        super().__init__()
        self.pair, self.columns = pair, columns

    def model(self, rows: Tensor) -> Any:
        args, kwargs = split_arguments(self.columns.pick(rows.long()))
        return self.pair.model(*args, **kwargs)

    def guide(self, rows: Tensor) -> Any:
        args, kwargs = split_arguments(self.columns.pick(rows.long()))
        return self.pair.guide(*args, **kwargs)


def by_row(pair: nn.Module, x: Any) -> tuple[nn.Module, Tensor]:
    """Return the pair and its data if these are one tensor that takes the pair's dtype, else a :class:`ByRow` and rows.

    Integers are kept as such if the programs run on them.

    Args:
        pair: A module with ``model`` and ``guide``.
        x: Data of any kind that :func:`pyrodgm.infer.fit` takes, of one split; a stream is read into memory.

    Raises:
        TypeError: If the data are of no known kind, or do not fit the arguments of model and guide.
        ValueError: If there are no data, or a datum lies outside the support of its likelihood.
    """
    if isinstance(x, Split):
        x = x.images
    if isinstance(x, np.ndarray) and x.dtype.kind in "fbu":
        x = as_argument(x, True, *device_and_dtype(pair), "x") if x.dtype.kind == "f" else from_array(x, "x")
    if isinstance(x, Tensor):
        tensors(x=x)
    if isinstance(x, Tensor) and (x.is_floating_point() or x.dtype in (torch.bool, torch.uint8)):
        return pair, x
    columns = Columns(x if is_in_memory(x) else _read(pair, x), pair, "x")
    if isinstance(x, Tensor) and columns.values[0].is_floating_point():
        return pair, columns.values[0]
    check_arguments(pair, columns.pick(slice(0, 1)))
    device, dtype = device_and_dtype(pair)
    if len(columns) > 2 / torch.finfo(dtype).eps:  # the dtype cannot represent all row numbers
        raise ValueError(
            f"x must hold at most {2 / torch.finfo(dtype).eps:.0f} data for a pair of {dtype}, got {len(columns)}"
        )
    with evaluating(pair):
        check_support(pair, columns, "x")
    return ByRow(pair, columns), torch.arange(len(columns), device=device).to(dtype)


def _read(pair: nn.Module, stream: Any) -> Any:
    """All data of a stream, concatenated per argument."""
    batches: list[Batch] = list(batches_of(stream, pair, BATCH, "x"))
    if not batches:
        raise ValueError("x must hold at least one datum, got none")
    args, kwargs = zip(*map(split_arguments, batches), strict=True)
    positional = [torch.cat(parts) for parts in zip(*args, strict=True)]
    keywords: Mapping[str, Tensor] = {name: torch.cat([part[name] for part in kwargs]) for name in kwargs[0]}
    return keywords or tuple(positional)
