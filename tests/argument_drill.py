"""Give every public function and class odd and wrong values, one argument at a time, and count what comes of them.

python tests/odd_arguments.py           # the counts, and what is at fault
python tests/odd_arguments.py --table   # what each argument takes, for the docs
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from itertools import islice, zip_longest
from typing import Any

import argument_calls
import argument_calls_infer
import argument_calls_modules
import torch
from argument_calls import LEFT_OUT, PACKAGES
from argument_kinds import Kind, kind_of
from torch import Tensor, nn
from torch.distributions import Distribution

from pyrodgm.infer import LogLikelihood

CALLS = argument_calls.CALLS | argument_calls_infer.CALLS | argument_calls_modules.CALLS


@cache
def public_names() -> dict[str, Any]:
    """Functions and classes in ``__all__`` of the packages, by their first name."""
    found: dict[str, Any] = {}
    for package in ("", *PACKAGES):
        module = importlib.import_module("pyrodgm" + (package and f".{package}"))
        for name in module.__all__:
            value = getattr(module, name)
            if (callable(value) or inspect.isclass(value)) and not any(value is other for other in found.values()):
                found[f"{package}.{name}".lstrip(".")] = value
    return found


def is_left_out(name: str) -> bool:
    return name in LEFT_OUT or any(name.startswith(f"{package}.") for package in LEFT_OUT)


def arguments(name: str) -> dict[str, Kind | None]:
    """What each argument of a function takes, by the right call and the defaults."""
    right = CALLS[name]()
    signature = inspect.signature(resolve(name))
    kinds = {}
    for argument, parameter in signature.parameters.items():
        value = right.get(argument, parameter.default)
        known = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if known and argument != "validate_args":
            given = None if value is parameter.empty else value
            kinds[argument] = kind_of(f"{name}.{argument}", parameter.annotation, given)
    return kinds


def resolve(name: str) -> Any:
    """A public function or class, or a class method of one."""
    known = public_names()
    owner, _, method = name.rpartition(".")
    return known[name] if name in known else getattr(known[owner], method)


@dataclass
class Found:
    """Counts of the values given, by what came of them, and what is at fault."""

    values: int = 0
    named: int = 0
    unnamed: int = 0
    finite: int = 0
    not_finite: int = 0
    faults: list[str] = field(default_factory=list)

    def __add__(self, other: "Found") -> "Found":
        return Found(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


def try_all(name: str) -> Found:
    """Every odd and wrong value for each argument of one function, and those that it must take."""
    found = Found()
    also = []
    for argument, kind in arguments(name).items():
        if kind is not None:
            also.append([(argument, value) for value in kind.also])
            for values, must in ((kind.wrong, "be refused"), (kind.odd, "")):
                for value in values:
                    try_value(name, argument, value, must, found)
    for together in zip_longest(*also):  # one call for several arguments: some take long
        try_together(name, dict(pair for pair in together if pair is not None), found)
    return found


def try_together(name: str, values: dict[str, Any], found: Found) -> None:
    """Values that must be taken, one for each argument, in one call; one by one to say which is not."""
    try:
        fine = is_finite(resolve(name)(**{**CALLS[name](), **values}))
    except Exception:
        fine = False
    if fine:
        found.values += len(values)
        found.finite += len(values)
        return
    for argument, value in values.items():
        try_value(name, argument, value, "be taken", found)


def try_value(name: str, argument: str, value: Any, must: str, found: Found) -> None:
    """One value; notes what comes of it, and a fault where it is not refused by name, or not what it must be."""
    found.values += 1
    call = f"{name}({argument}={str(value)[:60]!r})"
    torch.manual_seed(0)
    try:
        result = resolve(name)(**{**CALLS[name](), argument: value})
        if isinstance(result, AbstractContextManager):
            with result:
                pass
        finite = is_finite(result)
    except (TypeError, ValueError, FloatingPointError) as error:
        if names(argument, str(error)):
            found.named += 1
        else:
            found.unnamed += 1
            found.faults.append(f"{call}: {type(error).__name__}: {str(error)[:150]}")
        if must == "be taken":
            found.faults.append(f"{call} must be taken: {error}")
    except Exception as error:
        found.unnamed += 1
        found.faults.append(f"{call}: {type(error).__name__}: {str(error)[:150]}")
    else:
        found.finite += finite
        found.not_finite += not finite
        if not finite or must == "be refused":
            found.faults.append(f"{call} is taken{'' if finite else ', and the result is not finite'}")


def names(argument: str, message: str) -> bool:
    """Whether a message says what is wrong with an argument: its name, what was expected, what came."""
    said = re.search(rf"\b{argument}\b", message) and re.search("got|expected|must|are not", message)
    return said is not None or f"parameter {argument} " in message


def is_finite(result: Any) -> bool:
    """Whether all numbers in a result are finite; a distribution's draws and densities too."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors(result) if tensor.is_floating_point())


def tensors(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, float):
        yield torch.tensor(result)
    elif isinstance(result, LogLikelihood):
        yield result.values  # its diagnostics are infinite where it cannot be trusted
    elif isinstance(result, Distribution):
        draw = result.sample()
        yield draw
        try:
            yield result.log_prob(draw)
        except (NotImplementedError, ValueError):
            return  # it has draws alone
    elif isinstance(result, nn.Module):
        yield from (*result.parameters(), *result.buffers())
    elif isinstance(result, dict):
        for value in result.values():
            yield from tensors(value)
    elif isinstance(result, (tuple, list)):
        for value in result:
            yield from tensors(value)
    elif isinstance(result, Iterator):
        yield from tensors(list(islice(result, 3)))
    elif is_dataclass(result) and not type(result).__module__.startswith("pyrodgm.infer.training"):
        yield from tensors(vars(result))


def table() -> str:
    """What each argument takes: a Markdown table, one row a name and a kind."""
    rows: dict[tuple[str, str], list[str]] = {}
    for name in CALLS:
        for argument, kind in arguments(name).items():
            if kind is not None:
                rows.setdefault((argument, kind.takes), []).append(name)
    lines = [
        f"| `{a}` | {takes} | {', '.join(f'`{n}`' for n in where)} |" for (a, takes), where in sorted(rows.items())
    ]
    return "\n".join(["| argument | takes | of |", "|---|---|---|", *lines])
