"""Attributes that change between steps, whose every value needs graphs of its own."""

import warnings
from typing import Any

from pyrodgm.infer.tracing.attributes import Attributes

FEW = 4  # values whose graphs are kept, and changes in quick succession that are put up with
WORTH = {"traced": 50, "compiled": 5_000}  # steps that about pay for making a graph
SLOWER = {"compiled": "traced", "traced": "eager"}


class AttributeChanges:
    """Numbers the values that the attributes of a pair and its objective take.

    Args:
        owners: By name, what has the attributes.

    Attributes:
        known: The latest values by number.
        name: The attribute that changed last.
        soon: How many changes followed each other before they were worth a graph.
    """

    def __init__(self, owners: dict[str, Any]) -> None:
        self.owners = owners
        self.current, self.known = 0, {0: Attributes(owners)}
        self.name: str | None = None
        self.steps, self.soon, self.used = 0, 0, False

    def look(self, mode: str, *graphs: dict[Any, Any]) -> int:
        """The number of the values before a step; in a few microseconds where nothing has changed.

        Args:
            mode: How the step runs.
            graphs: What was made for values, whose number their keys begin with; that for values long gone is dropped.
        """
        self.steps += 1
        if not self.known[self.current].have_changed():
            return self.current
        now = Attributes(self.owners)
        same = [number for number, values in self.known.items() if values.difference(now) is None]
        if not same:
            self.name = self.known[self.current].difference(now)
            if self.used:  # else no graph was made in vain
                self.soon = self.soon + 1 if self.steps <= WORTH[mode] else 0
            self.steps, self.used = 0, False
            same = [max(self.known) + 1]
        self.current = same[0]
        self.known[self.current] = now
        if len(self.known) > FEW:
            gone = min(self.known)
            del self.known[gone]
            for made in graphs:
                for key in [key for key in made if key[0] == gone]:
                    del made[key]
        return self.current

    def refresh(self) -> None:
        """Take what a first run has filled in for what there was, as a graph is about to be made."""
        self.used = True
        self.known[self.current] = Attributes(self.owners)

    @property
    def too_often(self) -> bool:
        """Whether graphs are not worth making any more."""
        return self.soon >= FEW

    def give_up(self, mode: str) -> str:
        """Warn of a step that needs another graph too often, and say how it runs from now on."""
        warnings.warn(
            f"the attribute '{self.name}' changes every few steps and needs a new graph each time: from now on the "
            f"step is {SLOWER[mode]}; a graph follows buffers that are changed in place",
            stacklevel=6,
        )
        return SLOWER[mode]
