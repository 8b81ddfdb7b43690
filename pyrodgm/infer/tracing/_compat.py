"""Private names of PyTorch and Pyro, in this file alone."""

from collections.abc import Callable
from typing import Any

from pyro.distributions.torch_distribution import MaskedDistribution
from torch import Tensor, nn


def get_call(module: nn.Module) -> Callable[..., Any]:
    """What calling the module runs: hooks and ``forward``, or what ``Module.compile`` made of them."""
    return module._compiled_call_impl or module._call_impl


def set_call(module: nn.Module, call: Callable[..., Any]) -> Callable[[], None]:
    """Let calls of the module run ``call``, as ``Module.compile`` does; returns what undoes it."""
    name = "_compiled_call_impl"
    before = module.__dict__.get(name)
    module.__dict__[name] = call

    def undo() -> None:
        module.__dict__.pop(name)
        if before is not None:
            module.__dict__[name] = before

    return undo


def has_hooks(module: nn.Module) -> bool:
    """Whether something else than ``forward`` happens at a call of the module."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def version_of(tensor: Tensor) -> int:
    """How often the tensor was changed in place; 0 for one made in inference mode, which does not know."""
    return 0 if tensor.is_inference() else tensor._version


def mask_of_distribution(fn: Any) -> bool | Tensor:
    """The mask that ``fn.mask(...)`` put on a distribution; True for none."""
    return fn._mask if isinstance(fn, MaskedDistribution) else True
