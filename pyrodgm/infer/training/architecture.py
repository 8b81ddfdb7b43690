"""The architecture of a module as data: what each part of it is and holds, its tensors by name."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from itertools import chain
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyrodgm.infer.tracing import _compat
from pyrodgm.infer.training.importable import PARTS, RefusedError, module_class_path, value_path

DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
)
OBJECTS = (*PARTS, "torch.distributions", "pyro.distributions")


@dataclass(frozen=True)
class Architecture:
    """A module as data.

    Attributes:
        parts: What JSON can hold: class paths, attributes, and the names of tensors, as docs/saving.md describes.
        tensors: The tensors by these names.
    """

    parts: dict[str, Any]
    tensors: dict[str, Tensor]


def describe(module: nn.Module) -> Architecture:
    """Describe a module by what it and its parts hold, not by the calls that made them.

    Raises:
        ValueError: If something in it cannot be written as data; names the attribute.
    """
    writer = _Writer(module)
    return Architecture(writer.module(module, ""), writer.tensors)


class _Writer:
    def __init__(self, root: nn.Module) -> None:
        self.paths = {id(module): name for name, module in root.named_modules()}
        self.names = {id(t): name for name, t in chain(root.named_parameters(), root.named_buffers())}
        self.tensors: dict[str, Tensor] = {}
        self.kept: list[Any] = []  # so that no id is given twice

    def module(self, module: nn.Module, path: str) -> dict[str, Any]:
        self.kept.append(module)
        first = self.paths.setdefault(id(module), path)
        if first != path:
            return {"same": first}
        where = path or "the pair"
        try:
            kind = module_class_path(type(module))
        except RefusedError as error:
            raise ValueError(f"{where} must be of an importable class: {error}") from error
        state, empty = _compat.pickled_state(module), _compat.empty_state(type(module))
        if _compat.has_random_attributes(state):
            raise ValueError(f"{where} must have no PyroSample, which is a function and no data")
        entry: dict[str, Any] = {"module": kind}
        own = state.keys() - empty.keys() - set(_compat.UNSAVED)
        entry["attributes"] = {k: self.value(v, _join(path, k)) for k, v in state.items() if k in own}
        for slot, name in _compat.SLOTS.items():
            write = self.module if slot == "modules" else self.tensor
            entry[slot] = {k: None if v is None else write(v, _join(path, k)) for k, v in state[name].items()}
        entry["transient"] = sorted(state[_compat.TRANSIENT])
        parameters = state[_compat.SLOTS["parameters"]].items()
        entry["frozen"] = [k for k, v in parameters if v is not None and not v.requires_grad]
        entry["hooks"] = {
            kind: [self.value(hook, _join(path, kind)) for hook in held.values()]
            for kind, held in _compat.hooks(state).items()
            if held
        }
        entry["constraints"] = {
            k: [self.value(constraint, _join(path, k)), event_dim]
            for k, (constraint, event_dim) in _compat.constrained_parameters(state).items()
        }
        return {k: v for k, v in entry.items() if v} | ({} if module.training else {"training": False})

    def tensor(self, tensor: Tensor, path: str) -> str:
        self.kept.append(tensor)
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.dtype not in DTYPES:
            raise ValueError(f"{path} must be a plain tensor, got a {type(tensor).__name__} of {tensor.dtype}")
        if tensor.layout != torch.strided or tensor.is_meta:
            raise ValueError(f"{path} must be a dense tensor in memory, got {tensor.layout} on {tensor.device}")
        if not tensor.is_leaf:
            raise ValueError(f"{path} must not be computed from parameters with a gradient; compute it when it is used")
        name = self.names.setdefault(id(tensor), path)
        self.tensors[name] = tensor
        return name

    def value(self, value: Any, path: str) -> Any:
        """An attribute, or something in one, as JSON can hold it."""
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, np.generic):
            value = value.item()
        if type(value) is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, nn.Module):
            return self.module(value, path)
        if isinstance(value, Tensor):
            return {"parameter" if isinstance(value, nn.Parameter) else "tensor": self.tensor(value, path)}
        if type(value) in (list, tuple, torch.Size, set, frozenset):
            items = [self.value(item, f"{path}.{i}") for i, item in enumerate(value)]
            return items if type(value) is list else {"tuple" if isinstance(value, tuple) else "set": items}
        if type(value) in (dict, OrderedDict):
            return {"dict": [[self.value(k, path), self.value(v, f"{path}.{k}")] for k, v in value.items()]}
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        try:
            return self._callable_or_object(value, path)
        except RefusedError as error:
            raise ValueError(
                f"{path} must be data, a module, or a class or function of the library, "
                f"got a {type(value).__name__}: {error}"
            ) from error

    def _callable_or_object(self, value: Any, path: str) -> Any:
        if isinstance(value, partial):
            keywords = {k: self.value(v, f"{path}.{k}") for k, v in value.keywords.items()}
            return {"partial": value_path(value.func), "args": self.value(list(value.args), path), "keywords": keywords}
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
            return {"class" if isinstance(value, type) else "function": value_path(value)}
        kind = type(value)
        if not kind.__module__.startswith(OBJECTS) or not hasattr(value, "__dict__"):
            raise RefusedError(f"{kind.__module__}.{kind.__qualname__} is no part of the library")
        attributes = {k: self.value(v, f"{path}.{k}") for k, v in vars(value).items()}
        return {"object": value_path(kind), "attributes": attributes}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
