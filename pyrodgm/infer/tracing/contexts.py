"""The contexts in which the library runs the programs of others."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Literal, TypeAlias

import pyro
import pyro.infer
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pyrodgm.infer.tracing._compat import lazy_clone, shares_memory
from pyrodgm.infer.tracing.arguments import Batch, first_tensor, split_arguments
from pyrodgm.infer.tracing.kept_calls import afresh, kept_calls
from pyrodgm.infer.tracing.parameters import own_parameters, trained_parameters

MatmulPrecision: TypeAlias = Literal["highest", "high", "medium"]


@contextmanager
def evaluating(pair: nn.Module) -> Iterator[None]:
    """Context in which a pair is run but not changed: evaluation mode, no gradients, none of Pyro's checks.

    Code inside may turn gradients on, also where the caller is in inference mode. Afterwards every submodule has the
    mode that it had before. Parts that are called with nothing, as priors are, run once where that gives the same
    (:func:`~pyrodgm.infer.tracing.kept_calls.kept_calls`). ``pyro.param`` statements of what is no parameter of the
    pair have the value that Pyro's parameter store holds, or their initial one, with a warning that names them.
    """
    modes = [(module, module.training) for module in pair.modules()]
    try:
        pair.eval()
        without = torch.inference_mode(False), torch.no_grad()
        with without[0], without[1], kept_calls(pair), own_parameters(pair) as run, pyro.validation_enabled(False):
            yield
            if unknown := run.unknown():
                names = "', '".join(unknown)
                where = "neither a parameter of the pair nor in Pyro's parameter store"
                warnings.warn(f"pyro.param '{names}' is {where}: its initial value was used", stacklevel=4)
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
    """The loss of an objective over the number of data that it speaks of, a tensor ``[]``; with own parameters alone.

    That is the size of the batch; or, where the plate over the data is subsampled to that size and so scales what is in
    it, the size of the plate.
    """
    with trained_parameters(pair, len(first_tensor(batch))) as run:
        loss = loss_of(objective, pair.model, pair.guide, batch)
    return loss / run.full_size


def loss_of(objective: pyro.infer.ELBO, model: Any, guide: Any, batch: Batch) -> Tensor:
    """The loss of an objective, a tensor ``[]``; without gradient where gradients are off.

    Pyro's estimator by enumeration refuses that.
    """
    args, kwargs = split_arguments(batch)
    if torch.is_grad_enabled() or not isinstance(objective, pyro.infer.TraceEnum_ELBO):
        loss: Tensor = objective.differentiable_loss(model, guide, *args, **kwargs)
        return loss
    with torch.enable_grad(), afresh():  # kept results have none
        return objective.differentiable_loss(model, guide, *args, **kwargs).detach()


@contextmanager
def unchanged(pair: nn.Module, device: torch.device) -> Iterator[None]:
    """Context that leaves the buffers of the pair, and the random state, as it found them."""
    before = {name: (value, lazy_clone(value)) for name, value in pair.named_buffers() if not is_lazy(value)}
    try:
        with fork_rng(device), _new_statistics_untouched(pair):
            yield
    finally:
        with torch.no_grad():
            for name, value in pair.named_buffers():
                own, kept = before.get(name, (value, value))  # a first call makes some
                if value is not own or not shares_memory(value):  # else nothing was written to it
                    value.copy_(kept)


@contextmanager
def _new_statistics_untouched(pair: nn.Module) -> Iterator[None]:
    """Context in which modules that make their buffers at a call, as lazy batch normalisations do, leave them so."""
    makers = [part for part in pair.modules() if part.training and any(map(is_lazy, part.buffers(recurse=False)))]
    try:
        for part in makers:
            part.training = False
        yield
    finally:
        for part in makers:
            part.training = True


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
