"""Classes and functions by the path that imports them; which ones a file may name."""

import importlib
import sys
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from pyro.nn import PyroModule
from torch import nn

from pyrodgm.errors import PyrodgmError

PARTS = tuple(
    f"pyrodgm.{name}" for name in ("boltzmann", "distributions", "likelihoods", "models", "nn", "posteriors", "priors")
)
# Whose classes, modules or not, a file may name, and make objects of.
VALUES = (*PARTS, "torch.distributions", "pyro.distributions", "zuko")
MIXIN = "PyroModule["


class RefusedError(PyrodgmError, ValueError):
    """Something that is not written to a file, or not made from one."""


def module_class_path(kind: type[nn.Module]) -> str:
    """The path of a module class.

    Raises:
        RefusedError: If no other program could find it.
    """
    base: Any = kind.__mro__[1]
    if issubclass(kind, PyroModule) and not issubclass(base, PyroModule) and PyroModule[base] is kind:
        return f"{MIXIN}{path_of(base)}]"
    _check_module_class(kind)
    return path_of(kind)


def find_module_class(path: str) -> type[nn.Module]:
    """The module class of a path; its Python module is imported.

    Raises:
        ImportError: If it cannot be imported.
        RefusedError: If the path leads to anything but a subclass of ``torch.nn.Module``.
    """
    if path.startswith(MIXIN) and path.endswith("]"):
        return PyroModule[find_module_class(path.removeprefix(MIXIN)[:-1])]
    found = _find(path)
    _check_module_class(found)
    return found


def value_path(value: Any) -> str:
    """The path of a class or function that a module may hold: of a part of pyrodgm, of PyTorch's or Pyro's.

    Raises:
        RefusedError: If it is anything else.
    """
    if isinstance(value, type) and issubclass(value, nn.Module):
        return module_class_path(value)
    path = _function_path(value) or path_of(value)
    _check_value(path, value)
    return path


def find_value(path: str) -> Any:
    """The class or function of a path, of those that :func:`value_path` writes.

    Raises:
        ImportError: If it cannot be imported.
        RefusedError: If it is none of these.
    """
    if not (_within(path, (*VALUES, "torch.nn.functional")) or path.rpartition(".")[0] == "torch"):
        return find_module_class(path)
    found = _find(path)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        _check_value(path, found)
    return found


def path_of(thing: Any) -> str:
    """The shortest path of packages and modules under which a class or function is found.

    Raises:
        RefusedError: If it is found under none.
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", type(thing).__qualname__)
    parts = (module or "").split(".")
    for i in range(1, len(parts) + 1):
        namespace = sys.modules.get(".".join(parts[:i]))
        if namespace is not None and vars(namespace).get(name) is thing:
            return f"{namespace.__name__}.{name}"
    raise RefusedError(f"{module}.{name} cannot be imported by that name; define it at the top of a module")


def _function_path(value: Any) -> str | None:
    for namespace in (torch, F):
        for name, found in vars(namespace).items():
            if found is value and callable(value) and not name.startswith("_"):
                return f"{namespace.__name__}.{name}"
    return None


def _find(path: str) -> Any:
    module, _, name = path.rpartition(".")
    if not (module and all(part.isidentifier() for part in path.split("."))):
        raise RefusedError(f"{path!r} is no path of a class")
    if "__main__" in module.split(".") and module != "__main__":
        raise RefusedError(f"{path} is in a program, not in a module")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ImportError(f"{path} cannot be imported: {error}") from error


def _check_module_class(kind: Any) -> None:
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise RefusedError(f"{kind!r} is no subclass of torch.nn.Module")
    if issubclass(kind, (torch.jit.ScriptModule, torch.fx.GraphModule)):
        raise RefusedError(f"{kind.__name__} holds a program, not parts; save the module that it was made from")


def _check_value(path: str, value: Any) -> None:
    if isinstance(value, type):
        fine = _within(path, VALUES) and _within(value.__module__, VALUES)
    elif path.startswith("torch.nn.functional."):
        fine = value.__module__ in ("torch.nn.functional", "torch._C._nn")
    elif path.startswith("torch."):  # methods of tensors too, so neither torch.load nor torch.compile
        fine = isinstance(value, BuiltinFunctionType) and hasattr(torch.Tensor, path.removeprefix("torch."))
    else:
        fine = isinstance(value, FunctionType) and _within(path, PARTS) and _within(value.__module__, PARTS)
    if not fine:
        raise RefusedError(f"{path} is neither a module class nor of a part of pyrodgm, PyTorch or Pyro")


def _within(path: str, packages: tuple[str, ...]) -> bool:
    return any(path == package or path.startswith(f"{package}.") for package in packages)
