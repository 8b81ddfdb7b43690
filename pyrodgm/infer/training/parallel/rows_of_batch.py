"""The rows of a batch that a process runs the programs on, with the draws and statistics of the whole batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyrodgm.infer.tracing.independent_noise import IndependentNoise
from pyrodgm.infer.tracing.row_noise import Layout, RowNoise, layout_of
from pyrodgm.infer.training.parallel.batch_norm import SeenNorms, SyncedBatchNorm
from pyrodgm.processes import Share, alone, sharing, world


@dataclass(frozen=True)
class RowsOfBatch:
    """How a program that sees some rows of a batch does what it would do for them if it saw all.

    Attributes:
        share: The rows.
        draws: The layout of its draws.
        norms: For each batch normalisation, whether it is over rows of the batch.
    """

    share: Share
    draws: Layout
    norms: tuple[bool, ...]

    @classmethod
    def of(cls, share: Share, run: Callable[[], Any]) -> "RowsOfBatch":
        """Found out by running the program on two numbers of rows.

        Args:
            share: The rows.
            run: Runs the program on the rows of the current share, and changes nothing.

        Raises:
            ValueError: If what the program draws does not follow the number of rows.
        """
        if share.count == share.total:
            return cls(share, (), ())
        seen: list[SeenNorms] = []

        def on(rows: int) -> None:
            seen.append(SeenNorms())
            with alone(), sharing(Share(0, rows, share.total)), seen[-1]:
                run()

        draws = layout_of(on, share.count, share.count + 1)
        return cls(share, draws, tuple(a != b for a, b in zip(*(s.shapes for s in seen), strict=True)))

    @contextmanager
    def __call__(self, *inputs: Any) -> Iterator[None]:
        """The context of one run of the program."""
        with sharing(self.share), IndependentNoise(world()):
            if self.share.count == self.share.total:
                yield
            else:
                with SyncedBatchNorm(self.share, self.norms), RowNoise(self.share, self.draws):
                    yield
