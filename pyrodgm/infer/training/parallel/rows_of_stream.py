"""A stream of which each process reads its rows of every batch."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from pyrodgm.infer.tracing.arguments import Batch
from pyrodgm.infer.training.feeds.feed import Inputs
from pyrodgm.infer.training.feeds.stream import StreamFeed, as_batches
from pyrodgm.infer.training.parallel.part_of_stream import PartOfStream
from pyrodgm.processes import Share, World

Key = tuple[int, Any]
"""The seed of an item, and its index in the data set."""


def can_be_split(loader: DataLoader[Any]) -> bool:
    """Whether each process can read rows of its own: the data set is read by index, in batches."""
    return not isinstance(loader.dataset, IterableDataset) and loader.batch_sampler is not None


class RowsOfStream(PartOfStream):
    """A feed of a loader's batches, in the loader's order, of which this process reads its rows alone.

    A resumed pass begins at its place: nothing before it is read. What a data set draws from PyTorch's random numbers
    for an item depends on pass, place and seed, not on the process or worker that reads it.

    Inputs begin with a tensor ``[rows of the batch, 0]`` in front of the arguments for the rows of this process.

    Args:
        stream: The feed of whole batches.
        world: The processes.
    """

    def __init__(self, stream: StreamFeed, world: World) -> None:
        super().__init__(stream)
        loader = stream.loader
        assert loader.batch_sampler is not None
        self.order = _Order(loader.batch_sampler, world)
        self.loader: DataLoader[Any] = DataLoader(
            _Items(loader.dataset),
            batch_sampler=self.order,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            pin_memory=loader.pin_memory,
            timeout=loader.timeout,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
            generator=loader.generator,
            prefetch_factor=loader.prefetch_factor,
            persistent_workers=loader.persistent_workers,
        )
        self.total = 0  # rows of the last batch
        stream.read = self._read

    def next(self) -> Inputs:
        inputs = self.stream.next()
        return (inputs[0].new_empty(self.total, 0), *inputs)

    def state(self) -> dict[str, Any]:
        return self.stream.state()

    def load(self, state: dict[str, Any]) -> None:
        self.stream.load(state)

    def _read(self, skip: int) -> Iterator[tuple[Batch, bool]]:
        self.order.begin(skip)
        for batch in as_batches(self.loader, self.stream.like):
            self.total, last = self.order.taken.popleft()
            yield batch, last


def own_rows_of_stream(inputs: Inputs, share: Share) -> Inputs:
    """The inputs of :class:`RowsOfStream` for a share: its own, or as many rows, some more than once."""
    marker, *columns = inputs
    rows = None if share.count == len(columns[0]) else torch.arange(share.count) % len(columns[0])
    return (marker, *columns) if rows is None else (marker, *(x[rows.to(x.device)] for x in columns))


class _Order(Sampler[list[Key]]):
    """The keys of this process in each batch of a sampler; a last batch of one datum joins the one before it.

    Args:
        batches: The sampler of whole batches.
        world: The processes.

    Attributes:
        taken: Rows of each whole batch that was asked for and not yet used, with whether it is the last one.
    """

    def __init__(self, batches: Any, world: World) -> None:
        self.batches, self.world = batches, world
        self.taken: deque[tuple[int, bool]] = deque()
        self.skip = self.seed = 0

    def begin(self, skip: int) -> None:
        """Begin a pass behind so many batches; the random state stays as it is."""
        state = torch.get_rng_state()
        self.seed = int(torch.randint(2**62, ()))
        torch.set_rng_state(state)
        self.skip = skip
        self.taken.clear()

    def __iter__(self) -> Iterator[list[Key]]:
        place = 0
        for number, (indices, last) in enumerate(_joined(iter(self.batches))):
            if number >= self.skip:
                self.taken.append((len(indices), last))
                share = Share.of(len(indices), self.world)
                first = self.seed + place + share.begin
                yield [(first + i, index) for i, index in enumerate(indices[share.rows])]
            place += len(indices)


def _joined(batches: Iterator[Sequence[Any]]) -> Iterator[tuple[list[Any], bool]]:
    """Batches, each with whether it is the last."""
    queue: list[list[Any]] = []
    for batch in batches:
        queue.append(list(batch))
        if len(queue) == 3:
            yield queue.pop(0), False
    if len(queue) == 2 and len(queue[1]) == 1 < len(queue[0]):
        queue = [queue[0] + queue[1]]
    for i, batch in enumerate(queue):
        yield batch, i == len(queue) - 1


class _Items(Dataset[Any]):
    """Items of a data set by key."""

    def __init__(self, data: Dataset[Any]) -> None:
        self.data = data

    def __getitems__(self, keys: list[Key]) -> list[Any]:
        state = torch.get_rng_state()
        try:
            together: Callable[[list[Any]], list[Any]] | None = getattr(self.data, "__getitems__", None)
            if together is not None:
                torch.default_generator.manual_seed(keys[0][0])
                return together([index for _, index in keys])
            return [self[key] for key in keys]
        finally:
            torch.set_rng_state(state)

    def __getitem__(self, key: Key) -> Any:
        torch.default_generator.manual_seed(key[0])
        return self.data[key[1]]
