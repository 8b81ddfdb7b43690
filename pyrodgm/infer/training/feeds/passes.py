"""The order in which rows of data are seen, pass after pass."""

import math
from typing import Any

import torch
from torch import Tensor


class Passes:
    """Row numbers of batches: passes over the data in random order, each row once per pass.

    A last batch of one datum joins the one before it: batch normalisation cannot do with one.

    Args:
        rows: The rows ``[N]`` to pass over.
        batch_size: Rows per batch.
        labelled: Rows of which each batch begins with ``labelled_batch_size``; they come round as often as need be.
            Where there are no others, a pass is one over these.
        labelled_batch_size: Labelled rows per batch.
    """

    def __init__(
        self, rows: Tensor, batch_size: int, labelled: Tensor | None = None, labelled_batch_size: int | None = None
    ) -> None:
        self.rows, self.batch_size = rows, batch_size
        self.labelled = rows[:0] if labelled is None else labelled
        self.labelled_batch_size = labelled_batch_size or 0
        self.remaining: list[Tensor] = []
        self.length = len(_cut(rows, batch_size)) or len(_cut(self.labelled, self.labelled_batch_size))

    def next(self) -> Tensor:
        """The rows of the next batch; a new pass begins where one has ended."""
        if not self.remaining:
            self.remaining = self._shuffled()[::-1]
        return self.remaining.pop()

    def first(self) -> Tensor:
        """As many rows as the first batch has."""
        return torch.cat([self.labelled[: self.labelled_batch_size], self.rows[: self.batch_size]])

    def state(self) -> dict[str, Any]:
        return {"remaining": list(self.remaining)}

    def load(self, state: dict[str, Any]) -> None:
        self.remaining = [rows.to(self.rows.device) for rows in state["remaining"]]

    def _shuffled(self) -> list[Tensor]:
        others = _cut(_permuted(self.rows), self.batch_size)
        if not self.labelled_batch_size:
            return others
        if not others:
            return _cut(_permuted(self.labelled), self.labelled_batch_size)
        rounds = math.ceil(self.length * self.labelled_batch_size / len(self.labelled))
        labelled = torch.cat([_permuted(self.labelled) for _ in range(rounds)]).split(self.labelled_batch_size)
        return [torch.cat(pair) for pair in zip(labelled, others, strict=False)]


def _cut(rows: Tensor, size: int) -> list[Tensor]:
    if not len(rows):
        return []
    parts = list(rows.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1 < size:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _permuted(rows: Tensor) -> Tensor:
    return rows[torch.randperm(len(rows)).to(rows.device)]
