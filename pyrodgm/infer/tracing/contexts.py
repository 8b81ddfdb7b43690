"""The contexts in which the library runs the programs of others."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Literal, TypeAlias

import pyro
import pyro.infer
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from pyrodgm.infer.tracing._compat import lazy_clone, shares_memory
from pyrodgm.infer.tracing.arguments import Batch, first_tensor, split_arguments
from pyrodgm.infer.tracing.kept_calls import kept_calls

MatmulPrecision: TypeAlias = Literal["highest", "high", "medium"]


class _OwnParameters(Messenger):
    """Answers ``pyro.param`` with the module's own parameter, so that the global store never sees it.

    Attributes:
        full_sizes: By the size of a subsample that a plate took, the largest size of such a plate.
    """

    def __init__(self) -> None:
        super().__init__()
        self.full_sizes: dict[int, int] = {}

    def _pyro_post_sample(self, msg: Any) -> None:
        for frame in msg["cond_indep_stack"]:
            if frame.full_size and frame.full_size != frame.size:
                self.full_sizes[frame.size] = max(frame.full_size, self.full_sizes.get(frame.size, 0))

    def _pyro_param(self, msg: Any) -> None:
        value = msg["args"][1] if len(msg["args"]) > 1 else None
        if isinstance(value, Tensor) and not hasattr(value, "unconstrained"):
            msg["value"], msg["done"], msg["stop"] = value, True, True


@contextmanager
def own_parameters() -> Iterator[_OwnParameters]:
    """Context in which modules use their own parameters and Pyro's global parameter store is neither read nor written.

    Statements that need a store (a constrained :class:`pyro.nn.PyroParam`, say) get one that ends with the context.
    """
    with pyro.get_param_store().scope(), _OwnParameters() as run:
        yield run


@contextmanager
def evaluating(pair: nn.Module) -> Iterator[None]:
    """Context in which a pair is run but not changed: evaluation mode, no gradients, none of Pyro's checks.

    Code inside may turn gradients on, also where the caller is in inference mode. Afterwards every submodule has the
    mode that it had before. Parts that are called with nothing, as priors are, run once where that gives the same
    (:func:`~pyrodgm.infer.tracing.kept_calls.kept_calls`).
    """
    modes = [(module, module.training) for module in pair.modules()]
    try:
        pair.eval()
        without = torch.inference_mode(False), torch.no_grad()
        with without[0], without[1], kept_calls(pair), own_parameters(), pyro.validation_enabled(False):
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Context in which this thread, and threads that it starts, take numbers too small for full precision as zero.

    Vanishing gradients are full of them, and some processors multiply them a hundred times more slowly. Worker threads
    that PyTorch has started before are not reached: ``torch.set_flush_denormal(True)`` as a program's first act does.
    """
    before = sys.float_info.min / 2.0 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def matmul_precision(precision: MatmulPrecision) -> Iterator[None]:
    """Context in which float32 matrix products have the precision of ``torch.set_float32_matmul_precision``."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def loss_per_datum(pair: Any, objective: pyro.infer.ELBO, batch: Batch) -> Tensor:
    """The loss of an objective over the number of data that it speaks of, a tensor ``[]``; with own parameters.

    That is the size of the batch; or, where a plate of the program is subsampled to that size and so scales what is in
    it, the size of the plate.
    """
    args, kwargs = split_arguments(batch)
    batch_size = len(first_tensor(batch))
    with own_parameters() as run:
        loss: Tensor = objective.differentiable_loss(pair.model, pair.guide, *args, **kwargs)
    return loss / run.full_sizes.get(batch_size, batch_size)


def rehearse(pair: nn.Module, objective: pyro.infer.ELBO, batch: Batch) -> None:
    """Run an objective once with Pyro's checks on, so that mistakes show as readable errors; change nothing.

    Pyro's estimators look at a program's plates when they first meet it; afterwards they consume no more randomness.
    """
    args, kwargs = split_arguments(batch)
    with torch.no_grad(), unchanged(pair, first_tensor(batch).device), own_parameters():
        objective.differentiable_loss(pair.model, pair.guide, *args, **kwargs)


@contextmanager
def unchanged(pair: nn.Module, device: torch.device) -> Iterator[None]:
    """Context that leaves the buffers of the pair, and the random state, as it found them."""
    before = {name: (value, lazy_clone(value)) for name, value in pair.named_buffers()}
    try:
        with fork_rng(device):
            yield
    finally:
        with torch.no_grad():
            for name, value in pair.named_buffers():
                own, kept = before[name]
                if value is not own or not shares_memory(value):  # else nothing was written to it
                    value.copy_(kept)


def fork_rng(device: torch.device) -> Any:
    """Context that leaves the random state of the CPU and of ``device`` as it found it."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def frozen_parts(trained: tuple[bool, ...]) -> AbstractContextManager[Any]:
    """Context without Pyro's warning that frozen parameters are not in its global store, where none are anyway."""
    if False not in trained:
        return nullcontext()
    stack = ExitStack()
    stack.enter_context(warnings.catch_warnings())
    warnings.filterwarnings("ignore", ".* was not registered in the param store")
    return stack
