"""A stream from shards that are divided among processes and workers."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from pyrodgm.arithmetic.arguments import callables, whole_numbers


class Shards(IterableDataset[Any]):
    """Items of shards (files of a WebDataset or of Arrow tables, say), which are read one after the other.

    Each process that trains with others, and each worker of its loader, has shards of its own:
    :func:`pyrodgm.infer.fit` divides them. A batch is then made of what the processes read, so it depends on their
    number, other than for data sets that are read by index.

    Args:
        shards: What ``read`` is called with, names of files say; at least one for each process.
        read: Called with a shard and a number, gives the items of the shard from that number on, the first being 0.
        lengths: Number of items of each shard. With them a pass that is resumed begins at its place; without them what
            is before it is read again.
        shuffle: Whether ``fit`` takes the shards in another random order in each pass; items keep theirs.

    Raises:
        ValueError: If there are no shards, or another number of lengths.

    Example:
        >>> data = Shards(["ab", "cde"], lambda shard, first: iter(shard[first:]), lengths=[2, 3])
        >>> list(data)
        ['a', 'b', 'c', 'd', 'e']
        >>> data.begin(part=(1, 2))  # what the second of two processes reads
        0
        >>> list(data)
        ['c', 'd', 'e']
    """

    def __init__(
        self,
        shards: Sequence[Any],
        read: Callable[[Any, int], Iterable[Any]],
        lengths: Sequence[int] | None = None,
        shuffle: bool = False,
    ) -> None:
        for name, value in (("shards", shards), ("lengths", shards if lengths is None else lengths)):
            if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
                raise TypeError(f"{name} must be a sequence, got {value!r}")
        callables(read=read)
        if not len(shards):
            raise ValueError("shards must be at least one, got none")
        if lengths is not None and len(lengths) != len(shards):
            raise ValueError(f"lengths must be one for each of the {len(shards)} shards, got {len(lengths)}")
        self.shards, self.read, self.shuffle = shards, read, shuffle
        self.lengths = None if lengths is None else list(whole_numbers("lengths", lengths, 0))
        self.begin()

    def begin(
        self,
        seed: int = 0,
        part: tuple[int, int] = (0, 1),
        skip: int = 0,
        batch_size: int | None = None,
        workers: int = 0,
    ) -> int:
        """Say what the next pass reads; returns how many of the batches to be skipped it gives nevertheless.

        Args:
            seed: Decides the order of the shards.
            part: Number of this process and number of processes.
            skip: Batches of this process from the beginning of the pass that are not to be read.
            batch_size: Items in each of them.
            workers: Workers of the loader, 0 for none.

        Raises:
            ValueError: If there are fewer shards than processes.
        """
        rank, size = part
        if len(self.shards) < size:
            raise ValueError(f"shards must be at least one for each of {size} processes, got {len(self.shards)}")
        generator, count = torch.Generator().manual_seed(seed), len(self.shards)
        order = torch.randperm(count, generator=generator).tolist() if self.shuffle else list(range(count))
        self.order, self.turn, self.skipped = order[rank::size], 0, [0] * max(1, workers)
        if skip and self.lengths is not None and batch_size is not None:
            streams = len(self.skipped)
            totals = [sum(self.lengths[i] for i in self.order[turn::streams]) for turn in range(streams)]
            # workers take turns until one has no whole batch left; a single datum behind the last joins that
            if skip < streams * (min(totals) // batch_size):
                self.turn = skip % streams
                self.skipped = [math.ceil((skip - turn) / streams) * batch_size for turn in range(streams)]
                return 0
        return skip

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        turn = (number + self.turn) % workers
        skip = self.skipped[turn] if turn < len(self.skipped) else 0
        for i in self.order[turn::workers]:
            if self.lengths is not None and skip >= self.lengths[i]:
                skip -= self.lengths[i]
            else:
                yield from self.read(self.shards[i], skip)
                skip = 0
