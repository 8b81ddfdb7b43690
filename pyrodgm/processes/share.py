"""The rows of a batch that each process takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from pyrodgm.processes.world import World


@dataclass(frozen=True)
class Share:
    """Rows of a batch, of which each process takes a part in order.

    Attributes:
        begin: The first row of this process.
        count: Its number of rows, at least 1.
        total: Rows of the batch.
        counts: Whether its rows count. Where a batch has fewer rows than there are processes, some repeat a row without
            effect, so that all go through the same operations.
    """

    begin: int
    count: int
    total: int
    counts: bool = True

    @classmethod
    def of(cls, total: int, world: World) -> "Share":
        """The share of a process in a batch.

        Example:
            >>> [Share.of(5, World(rank, 2)) for rank in range(2)]
            [Share(begin=0, count=2, total=5, counts=True), Share(begin=2, count=3, total=5, counts=True)]
        """
        begin, end = (total * rank // world.size for rank in (world.rank, world.rank + 1))
        return cls(begin, end - begin, total) if end > begin else cls(min(begin, total - 1), 1, total, counts=False)

    @property
    def weight(self) -> float:
        """The part of a mean over the batch that is the mean over these rows."""
        return self.count / self.total if self.counts else 0.0

    @property
    def rows(self) -> slice:
        """The rows as an index."""
        return slice(self.begin, self.begin + self.count)


_share: ContextVar[Share | None] = ContextVar("share", default=None)


@contextmanager
def sharing(share: Share) -> Iterator[Share]:
    """Context in which the programs see these rows of a batch."""
    token = _share.set(share)
    try:
        yield share
    finally:
        _share.reset(token)


def current_share() -> Share | None:
    """The share of the innermost :func:`sharing`; None outside, where the programs see whole batches."""
    return _share.get()
