"""Cache of traced programs, one graph per input shape."""

import warnings
from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor

from pyrodgm.infer.tracing._compat import tree_flatten, tree_unflatten
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.infer.tracing.graph import UntraceableError, flatten


class Graphs:
    """Runs programs as traced graphs, cached by key; falls back to eager with one warning if tracing fails.

    Args:
        mode: ``"eager"``, ``"traced"`` or ``"compiled"``.
        pair: The module whose programs are run; its attributes must not change while its graphs are in use.

    Attributes:
        makes_more: Whether programs without a graph are traced; otherwise they run eagerly.
    """

    def __init__(self, mode: str, pair: Any = None) -> None:
        self.mode, self.owners = mode, {} if pair is None else {"": pair}
        self.made: dict[Hashable, Callable[..., Any]] = {}
        self.makes_more = True

    def run(self, key: Hashable, program: Callable[..., Any], inputs: tuple[Any, ...], compiled: bool = False) -> Any:
        """The program's results on ``inputs``; keys must differ wherever input shapes do."""
        if self.mode == "eager" or not (self.makes_more or key in self.made):
            return program(*inputs)
        leaves, form = tree_flatten(inputs)  # views in a graph are valid only for the memory layout it was traced on
        inputs = tree_unflatten([x.contiguous() if isinstance(x, Tensor) else x for x in leaves], form)
        if key not in self.made:
            try:
                with fork_rng(inputs[0].device):  # tracing consumes random numbers
                    self.made[key] = flatten(program, inputs, compiled and self.mode == "compiled", self.owners)
            except UntraceableError as error:
                warnings.warn(f"this pair cannot be traced and is evaluated eagerly: {error}", stacklevel=6)
                self.mode = "eager"
                return program(*inputs)
        return self.made[key](*inputs)


def choose_mode(mode: str, count: int, block: int) -> str:
    """Resolve ``"auto"``: ``"traced"`` with more than eight blocks of data, else ``"eager"``; other modes are kept.

    Tracing the programs of a refined proposal takes as long as about fifty calls of them; a block makes about ten.
    """
    if mode != "auto":
        return mode
    return "traced" if count > 8 * block else "eager"
