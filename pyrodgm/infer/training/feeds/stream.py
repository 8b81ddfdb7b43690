"""Batches of a ``DataLoader``, which need not fit in memory."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pyro.infer
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from pyrodgm.datasets.shards import Shards
from pyrodgm.infer.tracing._compat import tree_flatten, tree_unflatten
from pyrodgm.infer.tracing.arguments import Batch, Keywords, first_tensor, split_arguments
from pyrodgm.infer.training.checkpoint import digest
from pyrodgm.infer.training.feeds.columns import as_argument, device_and_dtype
from pyrodgm.infer.training.feeds.feed import Inputs
from pyrodgm.infer.training.feeds.validation import ValidBatches, valid_bound
from pyrodgm.infer.training.feeds.whole_numbers import become_real, with_first
from pyrodgm.infer.training.fingerprint import INCOMPARABLE


class StreamFeed:
    """The batches of a loader, pass after pass, fetched ahead of the step and moved to the device.

    The loader draws from a random state of its own, so that a place in the stream is the random state at the beginning
    of the pass and the number of batches since: resuming begins the pass again and drops as many. A last batch of one
    datum joins the one before it. The stream is told from others by a digest of its first batch, where reading it twice
    gives the same; where it does not, whether it is the same when a run is resumed cannot be seen.

    Args:
        loader: Its batches are tensors, arrays, or tuples or dicts of these, the arguments of model and guide.
        like: The module that they are for.
        valid: The validation data, if any.
    """

    measures: tuple[str, ...] = ("valid_bound",)

    def __init__(self, loader: DataLoader[Any], like: nn.Module, valid: ValidBatches | None = None) -> None:
        self.loader, self.like, self.valid = loader, like, valid
        self.pass_length, self.validates = loader_length(loader), valid is not None
        self.identity: dict[str, Any] = {"batches_per_pass": self.pass_length}
        self._digests: list[str] = []  # of the first batch each time that it was looked at
        seed = int(torch.empty((), dtype=torch.int64).random_())
        self.rng = torch.Generator().manual_seed(seed).get_state()
        self.start = self._place()  # of the pass
        self.taken = self.skip = 0
        self.batches: Iterator[tuple[Batch, bool]] | None = None
        self.form: Any = None
        self.processes = 1  # among which the items of a pass are divided
        self.read: Callable[[int], Iterator[tuple[Batch, bool]]] = self._whole  # a pass from behind so many batches

    def next(self) -> Inputs:
        return self._next(self.read)

    def _next(self, read: Callable[[int], Iterator[tuple[Batch, bool]]]) -> Inputs:
        if self.batches is None:
            self.start, self.taken = self._place(), self.skip
            self.batches, self.skip = read(self.skip), 0
        batch, last = self._fetch()
        self.taken += 1
        if last:
            self.batches = None
        leaves, self.form = tree_flatten(split_arguments(batch))
        return tuple(leaves)

    def arguments(self, *inputs: Tensor) -> Batch:
        args, kwargs = tree_unflatten(list(inputs), self.form)
        return (*args, Keywords(kwargs)) if kwargs else tuple(args)

    def context(self, *inputs: Tensor) -> AbstractContextManager[Any]:
        return nullcontext()

    def count(self, *inputs: Tensor) -> int:
        return len(inputs[0])

    def first(self) -> Inputs:
        """The first batch; twice the same for one seed is taken to identify the stream."""
        before, generator = self.state(), self.loader.generator
        if generator is not None:  # which may be in any state
            generator.manual_seed(0)
        inputs = self._next(self._whole)
        self.load(before)
        self._digests.append(digest({str(i): value for i, value in enumerate(inputs)})[:16])
        if len(self._digests) > 1:
            same = len(set(self._digests)) == 1
            self.identity["first_batch"] = (
                self._digests[0] if same else f"{INCOMPARABLE}: other values each time it is read"
            )
        return inputs

    def advance(self) -> None:
        """Nothing to do: the next batches are on their way."""

    def validate(self, pair: nn.Module, objective: pyro.infer.ELBO) -> tuple[float, dict[str, float]]:
        bound = valid_bound(pair, objective, self.valid)
        return bound, {"valid_bound": bound}

    def state(self) -> dict[str, Any]:
        divided = {} if self.processes == 1 else {"processes": self.processes}
        if self.batches is None and not self.skip:
            return {**self._place(), **divided, "taken": 0}
        return {**self.start, **divided, "taken": self.taken or self.skip}

    def load(self, state: dict[str, Any]) -> None:
        divided_alike = state.get("processes", 1) == self.processes
        self.batches, self.rng, self.taken = None, state["rng"], 0
        self.skip = state["taken"] if divided_alike else 0
        self.start = {"rng": state["rng"], "generator": state["generator"]}
        if self.loader.generator is not None:
            self.loader.generator.set_state(state["generator"])

    def _whole(self, skip: int) -> Iterator[tuple[Batch, bool]]:
        loader = self.loader
        if isinstance(loader.dataset, Shards):
            seed = int(torch.randint(2**62, ()))
            skip = loader.dataset.begin(seed, (0, 1), skip, loader.batch_size, loader.num_workers)
        yield from itertools.islice(loader_batches(loader, self.like), skip, None)

    def _place(self) -> dict[str, Any]:
        generator = self.loader.generator
        return {"rng": self.rng, "generator": None if generator is None else generator.get_state()}

    def _fetch(self) -> tuple[Batch, bool]:
        outside = torch.get_rng_state()
        torch.set_rng_state(self.rng)
        try:
            assert self.batches is not None
            return next(self.batches)
        except StopIteration:
            raise ValueError("data must hold at least one batch, got none") from None
        finally:
            self.rng = torch.get_rng_state()
            torch.set_rng_state(outside)


def as_loader(data: Any, batch_size: int, shuffle: bool) -> DataLoader[Any]:
    """A loader of a torch data set, or the loader that the data are already."""
    if isinstance(data, DataLoader):
        return data
    return DataLoader(data, batch_size, shuffle=shuffle and not isinstance(data, IterableDataset))


def is_stream(data: Any) -> bool:
    """Whether data of this kind are read through a ``DataLoader``."""
    return isinstance(data, (DataLoader, Dataset))


def loader_batches(loader: DataLoader[Any], like: nn.Module) -> Iterator[tuple[Batch, bool]]:
    """The batches of one pass as arguments on the device of ``like``, each with whether it is the last.

    Two batches are fetched ahead, so that a last one of one datum can join the one before it.
    """
    queue: list[Batch] = []
    for batch in as_batches(loader, like):
        queue.append(batch)
        if len(queue) == 3:
            yield queue.pop(0), False
    if len(queue) == 2 and len(first_tensor(queue[1])) == 1 < len(first_tensor(queue[0])):
        queue = [_join(*queue)]
    for i, batch in enumerate(queue):
        yield batch, i == len(queue) - 1


def as_batches(loader: DataLoader[Any], like: nn.Module) -> Iterator[Batch]:
    """What a loader gives in one pass as arguments on the device of ``like``."""
    dtype = device_and_dtype(like)[1]
    real = None
    for given in loader:
        batch = _as_batch(given, like)
        if real is None:
            real = become_real(like, batch, dtype)
        yield with_first(batch, dtype) if real else batch


def loader_length(loader: DataLoader[Any]) -> int | None:
    """Batches per pass, with a last one of one datum joined to the one before it; None where that is unknown."""
    try:
        length = len(loader)
    except TypeError:
        return None
    if isinstance(loader.dataset, IterableDataset) or loader.batch_size is None or loader.drop_last:
        return length
    return length - (length > 1 and loader.batch_size > 1 and len(loader.sampler) % loader.batch_size == 1)  # type: ignore[arg-type]


def _as_batch(batch: Any, like: nn.Module) -> Batch:
    device, dtype = device_and_dtype(like)
    if isinstance(batch, Mapping):
        named = enumerate(batch.items())
        return (Keywords({k: as_argument(v, i == 0, device, dtype, f"data[{k!r}]") for i, (k, v) in named}),)
    parts = batch if isinstance(batch, (tuple, list)) else [batch]
    return tuple(as_argument(v, i == 0, device, dtype, f"data[{i}]") for i, v in enumerate(parts))


def _join(first: Batch, second: Batch) -> Batch:
    (args, kwargs), (more, keywords) = split_arguments(first), split_arguments(second)
    joined = tuple(torch.cat(pair) for pair in zip(args, more, strict=True))
    if not kwargs:
        return joined
    return (*joined, Keywords({name: torch.cat([value, keywords[name]]) for name, value in kwargs.items()}))
