"""Batches of data that lie on the device whole."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pyro.infer
import torch
from torch import Tensor, nn

from pyrodgm.datasets import Dataset
from pyrodgm.datasets.training_indices import training_rows
from pyrodgm.infer.tracing.arguments import Batch
from pyrodgm.infer.training.feeds.feed import Inputs
from pyrodgm.infer.training.feeds.passes import Passes
from pyrodgm.infer.training.feeds.validation import ValidBatches, valid_bound


class MemoryFeed:
    """Rows of data in random order, indexed within the step.

    Args:
        pick: Makes the arguments of model and guide from row numbers ``[batch]``.
        passes: The order of the rows.
        total: Number of rows of the training data.
        valid: The validation data, if any.
    """

    measures: tuple[str, ...] = ("valid_bound",)

    def __init__(
        self, pick: Callable[[Tensor], Batch], passes: Passes, total: int, valid: ValidBatches | None = None
    ) -> None:
        self.pick, self.passes, self.total, self.valid = pick, passes, total, valid
        self.pass_length: int | None = passes.length
        self.validates = valid is not None
        self.identity: dict[str, Any] = {"training_images": total}

    def next(self) -> Inputs:
        return (self.passes.next(),)

    def arguments(self, *inputs: Tensor) -> Batch:
        return self.pick(inputs[0])

    def context(self, *inputs: Tensor) -> AbstractContextManager[Any]:
        return training_rows(inputs[0], self.total)

    def count(self, *inputs: Tensor) -> int:
        return len(inputs[0])

    def first(self) -> Inputs:
        return (self.passes.first(),)

    def advance(self) -> None:
        """Nothing to do: the next rows are known."""

    def validate(self, pair: nn.Module, objective: pyro.infer.ELBO) -> tuple[float, dict[str, float]]:
        bound = valid_bound(pair, objective, self.valid)
        return bound, {"valid_bound": bound}

    def state(self) -> dict[str, Any]:
        return self.passes.state()

    def load(self, state: dict[str, Any]) -> None:
        self.passes.load(state)


def images_feed(
    data: Dataset, batch_size: int, labelled_batch_size: int | None = None, valid: ValidBatches | None = None
) -> MemoryFeed:
    """Images of a data set, binarised within the step, and labels if asked for.

    Args:
        data: The data set, on the device.
        batch_size: Images per step; with ``labelled_batch_size``, unlabelled images.
        labelled_batch_size: Labelled images per step, before the unlabelled ones, whose labels are the second argument.
            An epoch is then a pass over the unlabelled images, in which the labelled ones come round as often as need
            be; where all are labelled, it is a pass over these.
        valid: The validation data, if any.

    Raises:
        ValueError: If there are fewer labelled images than ``labelled_batch_size``.
    """
    images, labels = data.train.images, data.train.labels
    rows = torch.arange(len(images), device=images.device)
    if labelled_batch_size is None:
        return MemoryFeed(lambda r: (data.binarize(images[r]),), Passes(rows, batch_size), len(rows), valid)
    known = rows < 0 if labels is None else labels >= 0
    labelled, others = rows[known], rows[~known]
    if labels is None or len(labelled) < labelled_batch_size:
        raise ValueError(
            "labelled_batch_size must be at most the number of labelled training images, "
            f"{len(labelled)}, got {labelled_batch_size}"
        )
    count = labelled_batch_size if len(others) else len(labelled)

    def pick(r: Tensor) -> Batch:
        return data.binarize(images[r]), labels[r[:count]]

    return MemoryFeed(pick, Passes(others, batch_size, labelled, labelled_batch_size), len(rows), valid)
