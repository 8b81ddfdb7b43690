"""The feed for data of each kind."""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from pyrodgm.datasets import Dataset
from pyrodgm.infer.tracing.arguments import Batch, check_arguments, split_arguments
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.infer.training.feeds.columns import KINDS, Columns, device_and_dtype, is_in_memory
from pyrodgm.infer.training.feeds.feed import Feed
from pyrodgm.infer.training.feeds.memory import MemoryFeed, images_feed
from pyrodgm.infer.training.feeds.passes import Passes
from pyrodgm.infer.training.feeds.stream import StreamFeed, as_loader, is_stream, loader_batches
from pyrodgm.infer.training.feeds.support import check_support
from pyrodgm.infer.training.feeds.validation import VALIDATION_BATCH, ValidBatches


def on_device(data: Any, pair: nn.Module) -> Any:
    """A pyrodgm data set on the device and in the dtype of the pair; any other data as they are."""
    return data.to(*device_and_dtype(pair)) if isinstance(data, Dataset) else data


def make_feed(
    data: Any, pair: nn.Module, batch_size: int, *, valid: Any = None, labelled_batch_size: int | None = None
) -> Feed:
    """The batches of data of any kind.

    Args:
        data: What :func:`pyrodgm.infer.fit` takes.
        pair: The module that they are for, on its device.
        batch_size: Data per batch; a ``DataLoader`` has its own.
        valid: Validation data of any kind; those of a pyrodgm data set by default.
        labelled_batch_size: Labelled images per batch of a pyrodgm data set.

    Raises:
        TypeError: If the data are of no known kind.
        ValueError: If there are no data, or no labels where ``labelled_batch_size`` asks for them.
    """
    if isinstance(data, Dataset) and valid is None and data.valid:
        valid = data.valid
    held_out = None if valid is None else _held_out(valid, pair, max(batch_size, VALIDATION_BATCH))
    if isinstance(data, Dataset):
        if data.binarization != "dynamic" and labelled_batch_size is None:  # else images are no argument as they are
            check_support(pair, Columns(data.train, pair))
        return images_feed(data, batch_size, labelled_batch_size, held_out)
    if labelled_batch_size is not None:
        raise ValueError(
            f"labelled_batch_size must be None unless data are a pyrodgm Dataset, got {type(data).__name__}"
        )
    if is_in_memory(data):
        columns = _checked(Columns(data, pair), pair)
        rows = torch.arange(len(columns), device=columns.values[0].device)
        return MemoryFeed(columns.pick, Passes(rows, batch_size), len(rows), held_out)
    if is_stream(data):
        feed = StreamFeed(as_loader(data, batch_size, shuffle=True), pair, held_out)
        _check_batch(feed.arguments(*feed.first()), pair)
        return feed
    raise TypeError(f"data must be {KINDS}, got {type(data).__name__}")


def _checked(columns: Columns, pair: nn.Module, name: str = "data") -> Columns:
    """Data of which model and guide take each row."""
    check_arguments(pair, columns.pick(slice(0, 1)), name)
    check_support(pair, columns, name)
    return columns


def _check_batch(batch: Batch, pair: nn.Module, name: str = "data") -> None:
    """Refuse a batch of a stream that model and guide do not take; arguments may be of other lengths than the rest."""
    check_arguments(pair, batch, name)
    args, kwargs = split_arguments(batch)
    if len({len(value) if value.dim() else 0 for value in (*args, *kwargs.values())}) == 1:
        check_support(pair, Columns(kwargs or args, pair, name), name)


def _held_out(valid: Any, pair: nn.Module, batch_size: int) -> ValidBatches:
    if is_in_memory(valid):
        return partial(_checked(Columns(valid, pair, "valid"), pair, "valid").batches, batch_size)
    batches = partial(batches_of, valid, pair, batch_size, "valid")
    with fork_rng(device_and_dtype(pair)[0]):
        for batch in itertools.islice(batches(), 1):
            _check_batch(batch, pair, "valid")
    return batches


def batches_of(data: Any, pair: nn.Module, batch_size: int, name: str = "data") -> Iterator[Batch]:
    """The arguments of model and guide for all data in order, batch by batch, on the device of the pair.

    Args:
        data: What :func:`pyrodgm.infer.fit` takes, but a pyrodgm :class:`~pyrodgm.datasets.Split` for a data set.
        pair: The module that they are for.
        batch_size: Data per batch; a ``DataLoader`` has its own.
        name: What error messages call the data.

    Raises:
        TypeError: If the data are of no known kind.
        ValueError: If there are none.
    """
    if isinstance(data, Dataset):
        raise TypeError(f"{name} must be one split of the data set, such as data.test, got the whole")
    if is_in_memory(data):
        return Columns(data, pair, name).batches(batch_size)
    if is_stream(data):
        return (batch for batch, _ in loader_batches(as_loader(data, batch_size, shuffle=False), pair))
    raise TypeError(f"{name} must be {KINDS}, got {type(data).__name__}")
