"""A stream from shards, of which each process has shards of its own."""

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import torch

from pyrodgm.datasets.shards import Shards
from pyrodgm.infer.tracing.arguments import Batch
from pyrodgm.infer.training.feeds.feed import Inputs
from pyrodgm.infer.training.feeds.stream import StreamFeed, loader_batches
from pyrodgm.infer.training.parallel.part_of_stream import PartOfStream
from pyrodgm.processes import Share, World, from_all


class SplitStream(PartOfStream):
    """A feed whose batches are made of those of all processes, each of which reads its part of a stream.

    A pass ends on all processes together: one whose shards have come to their end waits, with a row that does not
    count, until all have. Each process draws random numbers of its own for reading.

    Inputs begin with an empty tensor, in front of the arguments for the rows of this process. Its shape has the place
    of these in the batch: ``[rows of the batch, 0, first, rows, whether they count]``.

    Args:
        stream: The feed of this process.
        data: Its data set.
        world: The processes.
    """

    def __init__(self, stream: StreamFeed, data: Shards, world: World) -> None:
        super().__init__(stream)
        self.data, self.world = data, world
        self.begun: dict[str, Any] | None = None  # the place at which the pass began that is under way
        self.taken, self.ended, self.exhausted = 0, False, False
        self.last: Inputs = ()
        stream.read, stream.processes = self._read, world.size

    def next(self) -> Inputs:
        if self.begun is None:
            self.begun, self.taken = self.stream.state(), 0
        inputs = tuple(x[:1] for x in self.last) if self.ended else self.stream.next()
        count = 0 if self.ended or self.exhausted else len(inputs[0])
        self.last, self.ended = inputs, self.stream.batches is None
        told = [part[""].tolist() for part in from_all({"": torch.tensor([count, self.ended])})]
        self.taken += 1
        if all(ended for _, ended in told):
            self.begun, self.ended = None, False
        counts = [n for n, _ in told]
        total, first = sum(counts), sum(counts[: self.world.rank])
        if not total:  # a pass was resumed at its very end
            return self.next()
        if not count:
            inputs, first = tuple(x[:1] for x in inputs), min(first, total - 1)
        return (inputs[0].new_empty(total, 0, first, len(inputs[0]), int(count > 0)), *inputs)

    def state(self) -> dict[str, Any]:
        if self.begun is None:
            return self.stream.state()
        return {**self.begun, "taken": self.taken}

    def load(self, state: dict[str, Any]) -> None:
        """Go to a place in a pass; to its beginning where another number of processes divided the shards otherwise."""
        self.stream.load(state)
        self.taken, self.ended = self.stream.skip, False
        self.begun = {**state, "taken": 0} if self.taken else None

    def _read(self, skip: int) -> Iterator[tuple[Batch, bool]]:
        """The batches of this process; one of no effect if all are to be skipped."""
        loader, self.exhausted = self.stream.loader, False
        seed = int(torch.randint(2**62, ()))
        after = torch.get_rng_state()
        torch.default_generator.manual_seed(seed + self.world.rank)
        part = (self.world.rank, self.world.size)
        skip = self.data.begin(seed, part, skip, loader.batch_size, loader.num_workers)
        batches = islice(loader_batches(loader, self.stream.like), skip, None)
        found = next(batches, None)
        if found is None:
            self.exhausted = True
            self.data.begin(seed, part)
            batch, _ = next(loader_batches(loader, self.stream.like), (None, True))
            if batch is None:
                raise ValueError(f"shards must hold at least one batch for each of {self.world.size} processes")
            found = batch, True
        for batch, last in chain([found], batches):
            if last:
                torch.set_rng_state(after)  # the same in all processes, for the next pass
            yield batch, last


def share_of(inputs: Inputs, world: World) -> Share:
    """The rows of this process in a batch, the whole of which the first of the inputs tells."""
    shape = inputs[0].shape
    if inputs[0].dim() == 5 and shape[1] == 0:
        return Share(shape[2], shape[3], shape[0], bool(shape[4]))
    return Share.of(len(inputs[0]), world)
