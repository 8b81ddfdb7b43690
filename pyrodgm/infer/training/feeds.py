"""Which data each training step sees, and what the programs get of them."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from pyrodgm.datasets import Dataset


class Batches:
    """The batches of an epoch: row numbers, and the arguments of the programs made from them on the device.

    Called with row numbers ``[B]`` of the training data, it returns ``(x,)``, or ``(x, y)`` with the labels of the
    first ``labelled_batch_size`` rows.

    Args:
        data: The data set, on the device.
        batch_size: Images a step; with ``labelled_batch_size``, unlabelled images.
        labelled_batch_size: Labelled images a step, before the unlabelled ones. An epoch is then a pass over the
            unlabelled images, in which the labelled ones come round as often as need be; where all are labelled, it is
            a pass over these.

    Raises:
        ValueError: If there are fewer labelled images than ``labelled_batch_size``.
    """

    def __init__(self, data: Dataset, batch_size: int, labelled_batch_size: int | None = None) -> None:
        self.data, self.batch_size, self.labelled_batch_size = data, batch_size, labelled_batch_size
        rows = torch.arange(len(data.train.images), device=data.train.images.device)
        self.labelled, self.others = rows[:0], rows
        if labelled_batch_size is not None:
            known = rows < 0 if data.train.labels is None else data.train.labels >= 0
            self.labelled, self.others = rows[known], rows[~known]
            if len(self.labelled) < labelled_batch_size:
                raise ValueError(
                    "labelled_batch_size must be at most the number of labelled training images, "
                    f"{len(self.labelled)}, got {labelled_batch_size}"
                )
        if len(self.others):
            self.steps = math.ceil(len(self.others) / batch_size)
        else:
            self.steps = math.ceil(len(self.labelled) / (labelled_batch_size or 1))

    def __len__(self) -> int:
        return self.steps

    def __call__(self, rows: Tensor) -> tuple[Tensor, ...]:
        x = self.data.binarize(self.data.train.images[rows])
        if self.labelled_batch_size is None or self.data.train.labels is None:
            return (x,)
        return x, self.data.train.labels[rows[: self.labelled_batch_size]]

    def first(self) -> tuple[Tensor, ...]:
        """The arguments made from the first rows, for a rehearsal."""
        labelled = self.labelled[: self.labelled_batch_size or 0]
        return self(torch.cat([labelled, self.others[: self.batch_size]]))

    def permuted(self) -> Iterator[Tensor]:
        """Row numbers of the steps of one epoch, in random order."""
        others = _permuted(self.others).split(self.batch_size)
        if self.labelled_batch_size is None:
            return iter(others)
        if not len(self.others):
            return iter(_permuted(self.labelled).split(self.labelled_batch_size))
        rounds = math.ceil(self.steps * self.labelled_batch_size / len(self.labelled))
        labelled = torch.cat([_permuted(self.labelled) for _ in range(rounds)]).split(self.labelled_batch_size)
        return (torch.cat(pair) for pair in zip(labelled, others, strict=False))


def _permuted(rows: Tensor) -> Tensor:
    return rows[torch.randperm(len(rows)).to(rows.device)]
