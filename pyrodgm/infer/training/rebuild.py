"""A module from the data that describe it; no constructor runs, nothing is executed but imports of its classes."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pyrodgm.infer.tracing import _compat
from pyrodgm.infer.training.importable import find_module_class, find_value


def rebuild(parts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """The module that :func:`pyrodgm.infer.training.architecture.describe` described.

    Raises:
        ImportError: If a class in it cannot be imported.
        RefusedError: If it names anything but module classes, and classes and functions of the library.
        KeyError, TypeError, ValueError, AttributeError, RecursionError: If the data are damaged.
    """
    return _Reader(parts, tensors).module(parts, "")


class _Reader:
    def __init__(self, parts: Any, tensors: Mapping[str, Tensor]) -> None:
        self.stored = tensors
        self.made: dict[str, Tensor] = {}
        self.modules: dict[str, nn.Module] = {}
        self._allocate(parts, "")

    def _allocate(self, entry: Any, path: str) -> None:
        """Make all modules, still empty, so that each can refer to any other."""
        if isinstance(entry, list):
            for i, item in enumerate(entry):
                self._allocate(item, _join(path, i))
        if not isinstance(entry, dict):
            return
        if isinstance(entry.get("module"), str):
            kind = find_module_class(entry["module"])
            self.modules[path] = kind.__new__(kind)
        for key in ("attributes", "modules", "keywords"):
            for name, item in entry.get(key, {}).items():
                self._allocate(item, _join(path, name))
        for key in ("tuple", "set", "args"):
            self._allocate(entry.get(key), path)
        for name, item in entry.get("dict", ()):
            self._allocate(item, _join(path, name))

    def module(self, entry: Mapping[str, Any], path: str) -> nn.Module:
        if "same" in entry:
            return self.modules[entry["same"]]
        module = self.modules[path]
        state = _compat.empty_state(type(module))
        state |= {k: self.value(v, _join(path, k)) for k, v in entry.get("attributes", {}).items()}
        frozen = entry.get("frozen", [])
        makers: dict[str, Any] = {
            "parameters": lambda name, value: self.parameter(value, name not in frozen),
            "buffers": lambda name, value: self.tensor(value),
            "modules": lambda name, value: self.module(value, _join(path, name)),
        }
        for slot, make in makers.items():
            given = entry.get(slot, {})
            state[_compat.SLOTS[slot]].update({k: None if v is None else make(k, v) for k, v in given.items()})
        state[_compat.TRANSIENT].update(entry.get("transient", []))
        constraints = {k: (self.value(c, path), dim) for k, (c, dim) in entry.get("constraints", {}).items()}
        _compat.constrained_parameters(state).update(constraints)
        for kind, held in entry.get("hooks", {}).items():
            _compat.hooks(state)[kind].update(enumerate(self.value(held, path)))
        state["training"] = entry.get("training", True)
        module.__setstate__(state)
        _compat.adopt(module)
        return module

    def tensor(self, name: str) -> Tensor:
        return self.made.setdefault(name, self.stored[name])

    def parameter(self, name: str, trainable: bool | None = None) -> nn.Parameter:
        made = self.made.get(name)
        if not isinstance(made, nn.Parameter):
            stored = self.stored[name]
            made = self.made[name] = nn.Parameter(stored, requires_grad=stored.is_floating_point())
        if trainable is not None:
            made.requires_grad_(trainable)
        return made

    def value(self, entry: Any, path: str) -> Any:
        if isinstance(entry, list):
            return [self.value(item, _join(path, i)) for i, item in enumerate(entry)]
        if not isinstance(entry, dict):
            return entry
        if "module" in entry or "same" in entry:
            return self.module(entry, path)
        readers: dict[str, Any] = {
            "float": float,
            "tuple": lambda items: tuple(self.value(items, path)),
            "set": lambda items: set(self.value(items, path)),
            "dict": lambda items: {self.value(k, path): self.value(v, _join(path, k)) for k, v in items},
            "dtype": _dtype,
            "tensor": self.tensor,
            "parameter": self.parameter,
            "class": find_value,
            "function": find_value,
            "partial": lambda name: self._partial(entry, path),
            "object": lambda name: self._object(entry, path),
        }
        kind = next(iter(entry))
        return readers[kind](entry[kind])

    def _partial(self, entry: Mapping[str, Any], path: str) -> Any:
        keywords = {k: self.value(v, _join(path, k)) for k, v in entry["keywords"].items()}
        return partial(find_value(entry["partial"]), *self.value(entry["args"], path), **keywords)

    def _object(self, entry: Mapping[str, Any], path: str) -> Any:
        kind = find_value(entry["object"])
        made = object.__new__(kind)
        vars(made).update({k: self.value(v, _join(path, k)) for k, v in entry["attributes"].items()})
        return made


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name!r} is no dtype")
    return found


def _join(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)
