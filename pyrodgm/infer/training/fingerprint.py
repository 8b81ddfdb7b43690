"""What decides the result of a run, as data that can be compared when it is resumed."""

import hashlib
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyrodgm.infer.training.architecture import describe
from pyrodgm.infer.training.checkpoint import digest

LIBRARIES = ("pyrodgm", "torch", "pyro", "numpy", "builtins", "math")
DEPTH = 8  # of objects in objects
SHORT = 8  # values that are shown in full
INCOMPARABLE = "not comparable"


def fingerprint(value: Any, depth: int = 0) -> Any:
    """A description that JSON can hold, the same for values that give the same results.

    Of an object it has the class and the public attributes, of a function of a library the name, of any other function,
    lambdas included, also its code, defaults, closure and the global values that it uses, of tensors a digest. What can
    be none of these is ``"not comparable"`` with its class; :func:`incomparable` finds it.
    """
    inner = partial(fingerprint, depth=depth + 1)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Tensor):
        return inner(value.tolist()) if value.numel() <= SHORT else f"tensor {digest(value)[:16]}"
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return inner(torch.from_numpy(np.ascontiguousarray(value)))
    if depth > DEPTH:
        return f"{INCOMPARABLE}: {_name(type(value))}"
    if isinstance(value, Mapping):
        return {str(key): inner(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [inner(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((inner(item) for item in value), key=str)
    if isinstance(value, partial):
        arguments = {"arguments": inner(value.args)} if value.args else {}
        return {"function": inner(value.func), **arguments, **inner(value.keywords)}
    if isinstance(value, types.MethodType):
        return {"method": value.__name__, "of": inner(value.__self__)}
    if isinstance(value, types.FunctionType):
        return _function(value, depth)
    if isinstance(value, (type, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)):
        return _name(value)
    return _object(value, depth)


def incomparable(description: Any, name: str = "") -> Iterator[str]:
    """The names of entries that cannot be compared, each with its class."""
    for key, value in _flat(description, name):
        if isinstance(value, str) and value.startswith(INCOMPARABLE):
            yield f"{key} ({value.removeprefix(INCOMPARABLE + ': ')})"


def differences(old: Any, new: Any) -> list[str]:
    """Each entry that is not the same in two descriptions, with both values."""
    before, after = dict(_flat(old)), dict(_flat(new))
    return [
        f"{name}: was {before.get(name)!r}, is {after.get(name)!r}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def architecture(pair: nn.Module) -> Any:
    """The parts of a module and the shapes of its tensors, whether it can be saved or not."""
    try:
        described = describe(pair)
        parts, tensors = _without_modes(described.parts), described.tensors
    except ValueError:
        parts = {name or "pair": _public(part) for name, part in pair.named_modules()}
        tensors = pair.state_dict()
    return {"parts": parts, "shapes": {name: f"{list(t.shape)} {t.dtype}" for name, t in tensors.items()}}


def _public(part: nn.Module) -> Any:
    """Class and public attributes of a module, without those of its parts."""
    held = {k: v for k, v in vars(part).items() if not (k.startswith("_") or isinstance(v, (nn.Module, Tensor)))}
    return {"class": _name(type(part)), **fingerprint({k: v for k, v in held.items() if k != "training"})}


def _without_modes(parts: Any) -> Any:
    """Descriptions without the modes of parts, which ``fit`` sets, and without private attributes."""
    if isinstance(parts, dict):
        return {k: _without_modes(v) for k, v in parts.items() if k != "training" and not k.startswith("_")}
    return [_without_modes(item) for item in parts] if isinstance(parts, list) else parts


def _function(function: types.FunctionType, depth: int) -> Any:
    name = _name(function)
    if name.partition(".")[0] in LIBRARIES and "<" not in name:
        return name
    described: dict[str, Any] = {"function": name, "code": _code_digest(function.__code__)}
    for key, held in (("defaults", function.__defaults__), ("keyword_defaults", function.__kwdefaults__)):
        if held:
            described[key] = fingerprint(held, depth + 1)
    names = function.__code__.co_freevars
    cells = function.__closure__ or ()
    described |= {n: fingerprint(_content(cell), depth + 1) for n, cell in zip(names, cells, strict=True)}
    used = {n: function.__globals__[n] for n in function.__code__.co_names if n in function.__globals__}
    described |= {n: fingerprint(v, depth + 1) for n, v in used.items() if not isinstance(v, types.ModuleType)}
    return described


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _code_digest(code: types.CodeType) -> str:
    result = hashlib.sha256(code.co_code)
    result.update(repr((code.co_names, code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])).encode())
    for constant in code.co_consts:
        if isinstance(constant, frozenset):  # whose order changes from process to process
            constant = sorted(constant, key=repr)
        nested = isinstance(constant, types.CodeType)
        result.update((_code_digest(constant) if nested else repr(constant)).encode())
    return result.hexdigest()[:16]


def _object(value: Any, depth: int) -> Any:
    name = _name(type(value))
    if isinstance(value, nn.Module):
        return {"class": name, "weights": digest(dict(value.state_dict()))[:16], **architecture(value)}
    if isinstance(value, (torch.dtype, torch.device, torch.Size)):
        return str(value)
    if is_dataclass(value):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
    elif hasattr(value, "__dict__"):
        held = vars(value)
    else:
        return f"{INCOMPARABLE}: {name}"
    return {"class": name, **{k: fingerprint(v, depth + 1) for k, v in held.items() if not k.startswith("_")}}


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', None) or 'builtins'}.{getattr(thing, '__qualname__', thing)}"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for i, item in enumerate(value):
            yield from _flat(item, f"{name}.{i}")
    else:
        yield name, value
