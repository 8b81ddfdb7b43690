"""Random draws of several models in one graph, each from a generator of its own."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from pyrodgm.infer.tracing._compat import argument_names, is_in_place, tree_map

aten = torch.ops.aten


@dataclass(frozen=True)
class Hole:
    """The place of a tensor in the arguments of an operation.

    Attributes:
        index: Which of the tensors.
    """

    index: int


@dataclass(frozen=True)
class Draws:
    """A draw that a graph makes for each model.

    Attributes:
        operation: What draws for one of them.
        arguments: Its arguments, with holes for tensors.
        options: Its arguments by name.
        generators: One for each model.
        shape: Shape of one draw.
        like: An empty tensor of its dtype and device.
    """

    operation: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    generators: Sequence[Generator]
    shape: torch.Size
    like: Tensor

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        """The draws ``[models, *shape]``; ``tensors`` fill the holes, each ``[models, *]``."""
        out = self.like.new_empty(len(self.generators), *self.shape)
        draw = FILLS.get(self.operation)
        for i, generator in enumerate(self.generators):
            arguments = tree_map(lambda x, i=i: tensors[x.index][i] if isinstance(x, Hole) else x, self.arguments)
            if draw is not None:
                draw(out[i], generator, *arguments)
            else:
                out[i].copy_(self._with_state_of(generator, arguments))
        return out

    def _with_state_of(self, generator: Generator, arguments: tuple[Any, ...]) -> Tensor:
        """The operation with the default generator, which takes on the state of another one meanwhile."""
        if "generator" in argument_names(self.operation):
            return self.operation(*arguments, **{**self.options, "generator": generator})
        outside = torch.get_rng_state()
        try:
            torch.set_rng_state(generator.get_state())
            result: Tensor = self.operation(*arguments, **self.options)
            generator.set_state(torch.get_rng_state())
        finally:
            torch.set_rng_state(outside)
        return result


# The draws of training steps without a tensor of their own, in place.
FILLS: dict[Any, Callable[..., Any]] = {
    aten.randn.default: lambda out, generator, size: out.normal_(generator=generator),
    aten.rand.default: lambda out, generator, size: out.uniform_(generator=generator),
    aten.bernoulli.default: lambda out, generator, p: out.bernoulli_(p, generator=generator),
    aten.normal_.default: lambda out, generator, _, *how: out.normal_(*how, generator=generator),
    aten.uniform_.default: lambda out, generator, _, *how: out.uniform_(*how, generator=generator),
    aten.exponential_.default: lambda out, generator, _, *how: out.exponential_(*how, generator=generator),
    aten.random_.default: lambda out, generator, _: out.random_(generator=generator),
    aten.bernoulli_.float: lambda out, generator, _, *how: out.bernoulli_(*how, generator=generator),
}

_table: dict[int, Draws] = {}
_keys = itertools.count()

_LIBRARY = torch.library.Library("pyrodgm", "FRAGMENT")
_LIBRARY.define("draw_each(Tensor[] tensors, int key) -> Tensor", tags=torch.Tag.nondeterministic_seeded)


def _draw_each(tensors: list[Tensor], key: int) -> Tensor:
    return _table[key](tensors)


def _shape_of_draws(tensors: list[Tensor], key: int) -> Tensor:
    draws = _table[key]
    return torch.empty(len(draws.generators), *draws.shape, dtype=draws.like.dtype, device="meta")


_LIBRARY.impl("draw_each", _draw_each, "CompositeExplicitAutograd")
_LIBRARY.impl("draw_each", _shape_of_draws, "Meta")


def note_draws(draws: Draws) -> int:
    """Keep draws under a key, for a graph that names them; until :func:`forget_draws`."""
    key = next(_keys)
    _table[key] = draws
    return key


def forget_draws(keys: Sequence[int]) -> None:
    """Let go of draws."""
    for key in keys:
        _table.pop(key, None)


def draw_each(tensors: list[Tensor], key: int) -> Tensor:
    """The draws of all models, as one node of a graph."""
    return torch.ops.pyrodgm.draw_each(tensors, key)


def is_supported(operation: Any) -> bool:
    """Whether the draws of an operation are one tensor that nothing else is to see change."""
    return not is_in_place(operation) or operation in FILLS
