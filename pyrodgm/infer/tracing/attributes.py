"""What modules and objects hold besides parameters, and whether it has changed: a graph has it as constants."""

import dataclasses
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from operator import is_, itemgetter
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import pyro
import torch
from torch import Tensor, nn

from pyrodgm.infer.tracing._compat import OWN_NAMES, call_registers, lazy_clone, version_of
from pyrodgm.infer.tracing.twins import PLAIN, Twins, is_users

GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
States: TypeAlias = list[tuple[Any, Any]]


class Attributes:
    """The attributes of some objects, and of the submodules of modules among them, as they are by now.

    Numbers and text count by value; tensors by identity and, but for those registered, by the number of their changes
    in place; arrays by content. Lists, tuples, dictionaries, sets and data classes count by what is in them, objects of
    other classes of the user's by their own attributes, all else by identity.

    Args:
        owners: By the name that is told of each, the objects; the empty name for a pair.
    """

    def __init__(self, owners: dict[str, Any]) -> None:
        self.owners = owners
        self.names: list[str] = []
        self.leaves: list[Any] = []
        self.containers: list[Any] = []
        self._sizes: list[int] = []
        self._readers: list[tuple[Callable[[Any], Iterable[Any]], Any]] = []
        self._tensors: list[Tensor] = []
        self._tensor_names: list[str] = []
        self._arrays: list[np.ndarray] = []
        self.generators: list[Any] = []
        self._seen: set[int] = set()
        objects = [(name, part) for label, owner in self.owners.items() for name, part in parts_of(label, owner)]
        modules = [part for _, part in objects if isinstance(part, nn.Module)]
        self.parts = {id(part): label for label, part in objects}
        registered = chain.from_iterable((*m.parameters(recurse=False), *m.buffers(recurse=False)) for m in modules)
        self.registered = {id(tensor) for tensor in registered}
        for label, part in objects:
            self._add_object(label, part)
        self._values = list(self._read())
        self.versions = [*map(version_of, self._tensors)]
        self._contents = [array.tobytes() for array in self._arrays]

    def have_changed(self) -> bool:
        """Whether something is another object than it was, or changed in place; in a few microseconds."""
        if [*map(len, self.containers)] != self._sizes:
            return True
        try:
            if not all(map(is_, self._read(), self._values)):
                return True
        except KeyError:
            return True
        return [*map(version_of, self._tensors)] != self.versions or [
            array.tobytes() for array in self._arrays
        ] != self._contents

    def difference(self, other: "Attributes") -> str | None:
        """The name of the first attribute that differs; None if there is none."""
        versions = zip(self._tensor_names, self.versions, other.versions, strict=False)  # of the same tensors
        return self._first_unlike(other, _alike) or next((name for name, a, b in versions if a != b), None)

    def difference_of_twin(self, other: "Attributes") -> str | None:
        """As :meth:`difference`, for another object of the same make: equal tensors, functions and objects will do."""
        return self._first_unlike(other, Twins(self.registered | other.registered, self.parts | other.parts).alike)

    def _first_unlike(self, other: "Attributes", alike: Callable[[Any, Any], bool]) -> str | None:
        own, others = zip(self.names, self.leaves, strict=True), zip(other.names, other.leaves, strict=True)
        for (name, value), (other_name, other_value) in zip(own, others, strict=False):
            if name != other_name or not alike(value, other_value):
                return other_name
        more = max(self.names, other.names, key=len)[min(len(self.names), len(other.names)) :]
        return more[0] if more else None

    def kept(self) -> Callable[[], None]:
        """What puts all back to what it is by now."""
        tensors = [(tensor, lazy_clone(tensor)) for tensor in self._tensors]
        arrays = [(array, array.copy()) for array in self._arrays]
        contents = [(held, dict(held) if isinstance(held, dict) else [*held]) for held in self.containers]

        def undo() -> None:
            for held, content in contents:
                _refill(held, content)
            for array, before in arrays:
                np.copyto(array, before)
            with torch.no_grad():
                for (tensor, clone), version in zip(tensors, self.versions, strict=True):
                    if version_of(tensor) != version:
                        tensor.copy_(clone)

        return undo

    def _read(self) -> Iterable[Any]:
        return chain.from_iterable([read(held) for read, held in self._readers])

    def _add_object(self, label: str, part: Any) -> None:
        own = vars(part)
        names = [name for name in own if name not in OWN_NAMES and not _is_input(part, name)]
        # of a single name it gives no tuple
        self._contain(own, itemgetter(*names, *names) if names else None)
        if isinstance(part, nn.Module):
            for register in call_registers(part):
                self._contain(register, dict.values if register else None)
                for i, (name, value) in enumerate(register.items()):  # hooks have numbers that no other has
                    self._leaf(f"{label}{f'hook {i}' if isinstance(name, int) else name}", value)
        for name in names:
            self._walk(f"{label}{name}", own[name], False)

    def _contain(self, held: Any, read: Callable[[Any], Iterable[Any]] | None) -> None:
        self.containers.append(held)
        self._sizes.append(len(held))
        if read is not None:
            self._readers.append((read, held))

    def _leaf(self, name: str, value: Any) -> None:
        self.names.append(name)
        self.leaves.append(value)

    def _walk(self, name: str, value: Any, inside: bool) -> None:
        """Note a value and what is in it; ``inside`` an object, others count by identity."""
        if isinstance(value, (*PLAIN, type(None))):
            return self._leaf(name, value)
        if isinstance(value, pyro.plate):  # autoguides make theirs anew at each call, of the size of the data
            return self._leaf(name, f"plate {value.name!r} at {value.dim}")
        if isinstance(value, Tensor):
            if id(value) not in self.registered:
                self._tensors.append(value)
                self._tensor_names.append(name)
            return self._leaf(name, value)
        if id(value) in self._seen:
            return self._leaf(name, value)
        if isinstance(value, (list, tuple, deque, set, dict)):
            self._seen.add(id(value))
            self._leaf(name, f"{type(value).__name__} of {len(value)}")
            if not isinstance(value, tuple):
                self._contain(value, _items if isinstance(value, dict) else iter)
            if isinstance(value, set):
                return self._leaf(name, frozenset(value))
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                self._leaf(name, key)
                self._walk(f"{name}[{key!r}]", item, inside)
            return None
        if isinstance(value, np.ndarray):
            self._arrays.append(value)
            return self._leaf(name, value.tobytes())
        if isinstance(value, GENERATORS) and not isinstance(value, random.SystemRandom):
            self.generators.append(value)
        elif _is_record(value) or (not inside and is_users(value)):
            self._seen.add(id(value))
            self._contain(vars(value), _items)
            for key, item in vars(value).items():
                if not _is_input(value, key):
                    self._walk(f"{name}.{key}", item, inside or not _is_record(value))
        return self._leaf(name, value)


@contextmanager
def watching(owners: dict[str, Any]) -> Iterator[list[str]]:
    """Context that finds out what a program does besides tensor operations, and undoes it.

    Yields:
        A list, which has got a sentence for it at the end: a change of an attribute, or random numbers from elsewhere.
    """
    found: list[str] = []
    before = Attributes(owners)
    undo, states = before.kept(), outside_randomness(before)
    try:
        yield found
        if not same_randomness(states):
            found.append("it draws random numbers from NumPy or Python, which a graph would repeat: draw from PyTorch")
        if before.have_changed() and (name := before.difference(Attributes(owners))):
            found.append(f"it changes the attribute '{name}': keep that in a buffer, changed in place")
    finally:
        undo()
        for generator, state in states:
            _set_state(generator, state)


def outside_randomness(attributes: Attributes) -> States:
    """The generators of NumPy and Python, global ones and those among some attributes, with their states."""
    return [(generator, _get_state(generator)) for generator in (random, np.random, *attributes.generators)]


def same_randomness(states: States) -> bool:
    """Whether nothing has been drawn since."""
    return all(_comparable(_get_state(generator)) == _comparable(state) for generator, state in states)


def _comparable(state: Any) -> Any:
    """A state with bytes for arrays."""
    if isinstance(state, dict):
        return {key: _comparable(value) for key, value in state.items()}
    if isinstance(state, np.ndarray):
        return state.tobytes()
    return tuple(_comparable(x) if isinstance(x, np.ndarray) else x for x in state) if type(state) is tuple else state


def _get_state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.getstate() if hasattr(generator, "getstate") else generator.get_state()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif hasattr(generator, "setstate"):
        generator.setstate(state)
    else:
        generator.set_state(state)


def parts_of(label: str, owner: Any) -> list[tuple[str, Any]]:
    """An object, or a module and its submodules, each with what its attributes are told by."""
    start = f"{label}." if label else ""
    if not isinstance(owner, nn.Module):
        return [(start, owner)]
    return [(f"{start}{name}." if name else start, module) for name, module in owner.named_modules()]


def _items(held: dict[Any, Any]) -> Iterable[Any]:
    return (*held, *held.values())


def _is_input(owner: Any, name: str) -> bool:
    """Whether an attribute is the KL weight of an objective, which a graph takes anew each time."""
    return name == "kl_weight" and not isinstance(owner, nn.Module) and isinstance(vars(owner)[name], Tensor)


def _alike(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, PLAIN) and bool(a == b))


def _is_record(value: Any) -> bool:
    """Whether an object is there for its attributes."""
    return isinstance(value, SimpleNamespace) or (dataclasses.is_dataclass(value) and hasattr(value, "__dict__"))


def _refill(held: Any, content: Any) -> None:
    """Give a container its content back, if that has changed."""
    if isinstance(held, dict):
        if [*map(id, _items(held))] != [*map(id, _items(content))]:
            held.clear()
            held.update(content)
    elif [*map(id, held)] != [*map(id, content)]:
        held.clear()
        (held.update if isinstance(held, set) else held.extend)(content)


def held(registers: list[dict[str, Any]]) -> list[int]:
    """The identities of what is in the registers of modules, in a few microseconds."""
    return [*map(id, chain.from_iterable([register.values() for register in registers]))]
