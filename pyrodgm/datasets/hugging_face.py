"""Streams of Hugging Face ``datasets``, divided among processes and workers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pyrodgm.datasets.shards import Shards
from pyrodgm.extras import needs_extra

if TYPE_CHECKING:
    from datasets import IterableDataset

ROWS = 256  # that are made tensors at once


def hugging_face_shards(
    stream: "IterableDataset",
    columns: Mapping[str, str],
    lengths: Sequence[int] | None = None,
    shuffle: bool = False,
) -> Shards:
    """The shards of a stream of Hugging Face ``datasets`` (files of Arrow or Parquet tables, say) as :class:`Shards`.

    A pass that is resumed begins at its place: shards before it are not opened, rows before it in a shard not decoded.
    A data set that is read by index, not as a stream, needs nothing of this: give ``fit`` a ``DataLoader`` of it.

    Args:
        stream: From ``load_dataset(..., streaming=True)``, say, whole: not yet split by node.
        columns: By the name of an argument of model and guide, the first being the data, the column of its values:
            numbers, or arrays of one shape.
        lengths: Number of rows of each shard, without which a pass that is resumed reads what is before its place.
        shuffle: As in :class:`Shards`, which orders shards; ``stream.shuffle`` orders rows within a buffer, which is
            filled anew after the place where a pass is resumed.

    Raises:
        ImportError: If datasets is not installed (``pip install 'pyrodgm[hugging-face]'``).
        TypeError: If ``stream`` or ``columns`` are something else.
        ValueError: If the stream is known to lack a column, or ``lengths`` are not one for each shard.
    """
    with needs_extra("hugging-face"):
        from datasets import IterableDataset
    if not isinstance(stream, IterableDataset):
        raise TypeError(f"stream must be an IterableDataset of datasets, got {type(stream).__name__}")
    if not isinstance(columns, Mapping) or not columns:
        raise TypeError(f"columns must map names of arguments to names of columns, got {columns!r}")
    known = stream.column_names
    for name in columns.values():
        if known is not None and name not in known:
            raise ValueError(f"columns must be among those of the stream ({', '.join(known)}), got {name!r}")
    return Shards(range(stream.num_shards), _Reader(stream, dict(columns)), lengths, shuffle)


@dataclass(frozen=True)
class _Reader:
    """Reads a shard from a row on; the worker of a loader has been given its shards before."""

    stream: "IterableDataset"
    columns: dict[str, str]

    def __call__(self, shard: int, first: int) -> Iterator[dict[str, Tensor]]:
        rows = self.stream.shard(self.stream.num_shards, shard).skip(first)
        for batch in rows.with_format("numpy").iter(ROWS):  # which a worker does not divide once more, as it does rows
            named = {name: torch.from_numpy(np.stack(batch[column])) for name, column in self.columns.items()}
            for i in range(len(next(iter(named.values())))):
                yield {name: values[i] for name, values in named.items()}
