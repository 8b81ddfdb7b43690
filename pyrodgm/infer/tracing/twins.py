"""Whether two objects of the same make would be the same constants of a graph."""

from collections import deque
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PLAIN = (int, float, complex, str, bytes, frozenset, np.generic)
# whose objects count by identity
OTHERS = {"abc", "builtins", "functools", "logging", "numpy", "pyro", "torch", "weakref"}


class Twins:
    """Compares what two modules hold, which a graph has as constants, where one graph is to serve both.

    Tensors that both have registered, and the parts of both that have the same name, are inputs of the graph, or are
    compared as such. Numbers, text and other tensors must be equal; functions have the same code and equal closures,
    and distributions, modules that are no part, and objects of the user's equal attributes. All else counts as alike.

    Args:
        registered: The identities of the parameters and buffers of both.
        parts: The names of the parts of both, by identity.
    """

    def __init__(self, registered: set[int], parts: dict[int, str]) -> None:
        self.registered, self.parts = registered, parts
        self._seen: set[tuple[int, int]] = set()

    def alike(self, a: Any, b: Any) -> bool:
        """Whether both may be the same constant."""
        if a is b or (id(a), id(b)) in self._seen:
            return True
        if type(a) is not type(b):
            return False
        if isinstance(a, PLAIN):
            return bool(a == b)
        if isinstance(a, Tensor):
            return {id(a), id(b)} <= self.registered or torch.equal(a, b)
        if isinstance(a, np.ndarray):
            return np.array_equal(a, b)
        self._seen.add((id(a), id(b)))
        if isinstance(a, (list, tuple, deque)):
            return len(a) == len(b) and all(map(self.alike, a, b))
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(self.alike(a[key], b[key]) for key in a)
        if isinstance(a, FunctionType):
            return a.__code__ == b.__code__ and self.alike(_held_by(a), _held_by(b))
        if isinstance(a, MethodType):
            return a.__func__ is b.__func__ and self.alike(a.__self__, b.__self__)
        if isinstance(a, partial):
            return self.alike([a.func, a.args, a.keywords], [b.func, b.args, b.keywords])
        if isinstance(a, nn.Module):
            if id(a) in self.parts or id(b) in self.parts:
                return self.parts.get(id(a)) == self.parts.get(id(b))
            if not self.alike({**a.state_dict(keep_vars=True)}, {**b.state_dict(keep_vars=True)}):
                return False
        return self._attributes_alike(a, b)

    def _attributes_alike(self, a: Any, b: Any) -> bool:
        of_library = isinstance(a, (nn.Module, torch.distributions.Distribution, torch.distributions.Transform))
        if not (of_library or is_users(a)):
            return True
        own, others = vars(a), vars(b)
        names = [n for n in own if n in others and not (of_library and n.startswith("_"))]  # some keep earlier results
        return all(self.alike(own[name], others[name]) for name in names)


def is_users(value: Any) -> bool:
    """Whether an object is of a class of the user's, and no module, distribution or class."""
    known = (nn.Module, torch.distributions.Distribution, torch.distributions.Transform, type, ModuleType)
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, known)
        and type(value).__module__.partition(".")[0] not in OTHERS
    )


def _held_by(function: FunctionType) -> list[Any]:
    """What a function has besides its code: defaults, and the values of names around it."""
    cells = [_content(cell) for cell in function.__closure__ or ()]
    return [function.__defaults__, function.__kwdefaults__, *cells]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None
