"""Graphs of programs, made once a shape."""

import warnings
from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor

from pyrodgm.infer.tracing._compat import tree_flatten, tree_unflatten
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.infer.tracing.graph import UntraceableError, flatten


class Graphs:
    """Runs programs as graphs, one a key; through Pyro where they cannot be traced, with one warning.

    Args:
        mode: ``"eager"``, ``"traced"`` or ``"compiled"``.
        pair: The module whose programs are run; its attributes stay as they are while its graphs are used.

    Attributes:
        makes_more: Whether a program without a graph gets one; otherwise it runs eagerly.
    """

    def __init__(self, mode: str, pair: Any = None) -> None:
        self.mode, self.owners = mode, {} if pair is None else {"": pair}
        self.made: dict[Hashable, Callable[..., Any]] = {}
        self.makes_more = True

    def run(self, key: Hashable, program: Callable[..., Any], inputs: tuple[Any, ...], compiled: bool = False) -> Any:
        """The program's results on inputs, whose shapes the key must tell apart."""
        if self.mode == "eager" or not (self.makes_more or key in self.made):
            return program(*inputs)
        leaves, form = tree_flatten(inputs)  # a graph's views are those of the layout that it was traced on
        inputs = tree_unflatten([x.contiguous() if isinstance(x, Tensor) else x for x in leaves], form)
        if key not in self.made:
            try:
                with fork_rng(inputs[0].device):  # tracing draws too
                    self.made[key] = flatten(program, inputs, compiled and self.mode == "compiled", self.owners)
            except UntraceableError as error:
                warnings.warn(f"this pair cannot be traced and is evaluated eagerly: {error}", stacklevel=6)
                self.mode = "eager"
                return program(*inputs)
        return self.made[key](*inputs)


def choose_mode(mode: str, count: int, block: int) -> str:
    """``mode``; in place of ``"auto"``, ``"traced"`` where there are more than eight blocks of data.

    Tracing a refined proposal's programs takes as long as fifty of their calls; a block makes about ten.
    """
    if mode != "auto":
        return mode
    return "traced" if count > 8 * block else "eager"
