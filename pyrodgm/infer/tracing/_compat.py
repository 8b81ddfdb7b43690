"""Private names of PyTorch and Pyro that pyrodgm relies on."""

from typing import Any

from pyro.nn import PyroModule
from torch import nn

SLOTS = {"parameters": "_parameters", "buffers": "_buffers", "modules": "_modules"}
TRANSIENT = "_non_persistent_buffers_set"
UNSAVED = ("_compiled_call_impl",)


def empty_state(kind: type[nn.Module]) -> dict[str, Any]:
    """What an instance of a module class holds before its constructor has added anything."""
    return dict(vars(PyroModule() if issubclass(kind, PyroModule) else nn.Module()))


def pickled_state(module: nn.Module) -> dict[str, Any]:
    """What ``copy`` and ``pickle`` take from a module."""
    own = getattr(module, "__getstate__", None)
    return dict(own() if own is not None else vars(module))


def hooks(state: dict[str, Any]) -> dict[str, dict[int, Any]]:
    """Functions that PyTorch calls around the module, by the kind of hook."""
    return {name: held for name, held in state.items() if name.endswith("_hooks") and isinstance(held, dict)}


def constrained_parameters(state: dict[str, Any]) -> dict[str, Any]:
    """Names of the constrained parameters of a ``PyroModule``, each with its constraint and event dimension."""
    return state.get("_pyro_params", {})


def has_random_attributes(state: dict[str, Any]) -> bool:
    """Whether a ``PyroModule`` draws some of its attributes."""
    return bool(state.get("_pyro_samples"))


def adopt(parent: nn.Module) -> None:
    """Give the Pyro modules in a Pyro module their place in its tree of names."""
    if isinstance(parent, PyroModule):
        for name, child in list(vars(parent)[SLOTS["modules"]].items()):
            if isinstance(child, PyroModule):
                parent.add_module(name, child)
