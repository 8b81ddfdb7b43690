"""The two layers of a machine, of one kind of units or of two."""

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from pyrodgm.boltzmann.supports import SideBySide
from pyrodgm.boltzmann.units import BITS, Units, require_units

Kinds = tuple[Units, Units]
TWO_BITS: Kinds = (BITS, BITS)


@final
class Layers(Units):
    """The units of a left layer and of a right one, side by side.

    Args:
        kinds: The kinds of both.
        sizes: The columns of both.
    """

    def __init__(self, kinds: Kinds, sizes: tuple[int, int]) -> None:
        self.kinds, self.sizes = kinds, sizes
        self.discrete = kinds[0].discrete and kinds[1].discrete

    def __repr__(self) -> str:
        return f"{self.kinds[0]!r} and {self.kinds[1]!r}"

    @property
    def support(self) -> Any:
        return SideBySide((self.kinds[0].support, self.kinds[1].support), self.sizes)

    def relaxed_support(self) -> Any:
        return SideBySide((self.kinds[0].relaxed_support(), self.kinds[1].relaxed_support()), self.sizes)

    def _both(self, apply: Callable[[Units, Tensor], Tensor], columns: Tensor, dim: int = -1) -> Tensor:
        parts = columns.split(self.sizes, dim)
        return torch.cat([apply(kind, part) for kind, part in zip(self.kinds, parts, strict=True)], dim)

    def log_partition(self, fields: Tensor, dim: int = -1) -> Tensor:
        return self._both(lambda kind, part: kind.log_partition(part, dim), fields, dim)

    def mean(self, fields: Tensor, dim: int = -1) -> Tensor:
        return self._both(lambda kind, part: kind.mean(part, dim), fields, dim)

    def entropy(self, fields: Tensor, dim: int = -1) -> Tensor:
        return self._both(lambda kind, part: kind.entropy(part, dim), fields, dim)

    def noise(self, like: Tensor, dim: int = -1) -> Tensor:
        return self._both(lambda kind, part: kind.noise(part, dim), like, dim)

    def respond(self, fields: Tensor, noise: Tensor, dim: int = -1) -> Tensor:
        pairs = zip(self.kinds, fields.split(self.sizes, dim), noise.split(self.sizes, dim), strict=True)
        return torch.cat([kind.respond(part, own, dim) for kind, part, own in pairs], dim)

    def fields_of(self, mean: Tensor) -> Tensor:
        return self._both(lambda kind, part: kind.fields_of(part), mean)

    def log_volume(self, columns: int) -> float:
        return sum(kind.log_volume(size) for kind, size in zip(self.kinds, self.sizes, strict=True))

    def states(self, index: Tensor, columns: int, dtype: torch.dtype) -> Tensor:
        raise NotImplementedError("states of two layers are not counted together")

    def log_reference(self, states: Tensor) -> Tensor:
        left, right = states.split(self.sizes, -1)
        return self.kinds[0].log_reference(left) + self.kinds[1].log_reference(right)

    def activity(self, states: Tensor) -> Tensor:
        left, right = states.split(self.sizes, -1)
        return self.kinds[0].activity(left) + self.kinds[1].activity(right)

    def head(self, columns: int) -> Units:
        if columns != self.sizes[0]:
            raise ValueError(f"the first units must be those of the left layer, {self.sizes[0]}, got {columns}")
        return self.kinds[0]


def check_kinds(units: Any, sizes: Sequence[int] = ()) -> None:
    """Refuse what are no two kinds of units, of which at least one can be counted, or do not fit into the columns.

    Raises:
        TypeError: If they are not two kinds.
        ValueError: If both are Gaussian, or a side has no whole number of units.
    """
    if not isinstance(units, tuple) or len(units) != 2:
        raise TypeError(f"units must be a kind for the left and one for the right side, got {units!r}")
    require_units(**{"units[0]": units[0], "units[1]": units[1]})
    if not units[0].discrete and not units[1].discrete:
        raise ValueError(f"units must be discrete on one side at least, got {units[0]!r} and {units[1]!r}")
    for name, kind, columns in zip(("left side", "right side"), units, sizes, strict=False):
        kind.check_columns(name, columns)
