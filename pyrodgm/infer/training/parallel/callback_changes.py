"""What callbacks change in the first process, which runs them alone, changed in all."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pyrodgm.infer.tracing._compat import OWN_NAMES, lazy_clone, shares_memory
from pyrodgm.infer.tracing.attributes import Attributes, parts_of
from pyrodgm.processes import broadcast_state, first, from_first, sharded_in, world

T = TypeVar("T")


def call_in_first(function: Callable[[], bool], pair: nn.Module, objective: Any) -> bool:
    """What ``function`` gives in the first process, which runs it alone; what it changes is changed in all.

    Raises:
        TypeError: If it changes an attribute that others cannot be told of.
    """
    return function() if world().size == 1 else bool(from_first(CallbackChanges(pair, objective).run(function) or 0))


class CallbackChanges:
    """Lets the pair and the objective of all processes follow those of the first.

    Parameters and buffers may be changed in place or replaced, and attributes set that are numbers, text, tensors, or
    lists, tuples, dictionaries and sets of these. Sharded buffers are each process's own.

    Args:
        pair: The pair, of the same make in all processes.
        objective: Its objective.
    """

    def __init__(self, pair: nn.Module, objective: Any) -> None:
        self.owners = {"": pair, "objective": objective}
        self.sharded = set(sharded_in(pair))
        self.changes: list[tuple[str, str, str, Any]] = []
        self._look()

    def run(self, function: Callable[[], T]) -> T | None:
        """What ``function`` gives in the first process, which runs it alone; None in the others.

        Raises:
            TypeError: If it has changed an attribute that others cannot be told of.
        """
        result = first(lambda: self._noting(function))
        changes = broadcast_state({"changes": self.changes})["changes"]
        if world().rank > 0:
            for change in changes:
                self._apply(*change)
        return result

    def _noting(self, function: Callable[[], T]) -> T:
        kept = {name: (tensor, lazy_clone(tensor)) for name, tensor in self._registered()}
        result = function()
        self.changes = []
        for name, tensor in self._registered():
            before, clone = kept.get(name, (None, tensor))
            # through `.data`, too, which leaves no other trace
            if before is not tensor or not (shares_memory(tensor) or torch.equal(tensor, clone)):
                label, _, own = name.rpartition(".")
                self.changes.append((f"{label}." if label else "", own, "fill" if before is tensor else "set", tensor))
        if self.attributes.have_changed():
            self._note_attributes()
        return result

    def _note_attributes(self) -> None:
        old, overall, found = self.values, self.attributes, len(self.changes)
        self._look()
        for place in {**old, **self.values}:
            if place not in self.values:
                self.changes.append((*place, "remove", None))
            elif place not in old or old[place].difference(self.values[place]) is not None:
                value = vars(self.values[place].owners[""])[place[1]]
                if not _can_be_sent(value):
                    _refuse("".join(place))
                same = place in old and vars(old[place].owners[""])[place[1]] is value and isinstance(value, Tensor)
                self.changes.append((*place, "fill" if same else "set", value))
        name = overall.difference(self.attributes)
        if name is not None and len(self.changes) == found == 0:
            _refuse(name)

    def _look(self) -> None:
        self.attributes = Attributes(self.owners)
        self.parts = dict(part for label, owner in self.owners.items() for part in parts_of(label, owner))
        self.values = {
            (label, name): Attributes({"": SimpleNamespace(**{name: value})})
            for label, part in self.parts.items()
            for name, value in vars(part).items()
            if name not in OWN_NAMES and name != "kl_weight"
        }

    def _registered(self) -> Iterator[tuple[str, Tensor]]:
        pair = self.owners[""]
        yield from pair.named_parameters()
        yield from (item for item in pair.named_buffers() if item[0] not in self.sharded)

    def _apply(self, label: str, name: str, how: str, value: Any) -> None:
        part = self.parts[label]
        own = getattr(part, name, None)
        with torch.no_grad():
            if how == "remove":
                delattr(part, name)
            elif how == "fill" or isinstance(own, nn.Parameter):
                assert isinstance(own, Tensor)
                own.copy_(value)
            else:
                like = own if isinstance(own, Tensor) else next(self.owners[""].parameters())
                setattr(part, name, value.to(like.device) if isinstance(value, Tensor) else value)


def _can_be_sent(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_can_be_sent(item) for pair in value.items() for item in pair)
    if type(value) in (list, tuple, set):
        return all(_can_be_sent(item) for item in value)
    return value is None or type(value) in (bool, int, float, complex, str, bytes) or isinstance(value, Tensor)


def _refuse(name: str) -> None:
    raise TypeError(
        f"a callback has changed '{name}' in the first process, which others cannot be told of: they can of "
        "parameters, buffers, numbers, text, tensors, and lists, tuples, dictionaries and sets of these"
    )
