"""Constraints of vectors whose columns belong to units."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints


class Grouped(constraints.Constraint):
    """What each group of columns, ``width`` of them side by side, must meet.

    Args:
        each: The constraint of one group, a vector.
        width: Columns of a group.
    """

    event_dim = 1

    def __init__(self, each: Any, width: int) -> None:
        self.each, self.width = each, width
        self.is_discrete = each.is_discrete
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        return self.each.check(value.unflatten(-1, (-1, self.width))).all(-1)

    def __repr__(self) -> str:
        return f"Grouped({self.each}, {self.width})"


class SideBySide(constraints.Constraint):
    """What two vectors that make up a longer one must meet, each its own.

    Args:
        each: The constraints of both.
        sizes: Their columns.
    """

    event_dim = 1

    def __init__(self, each: tuple[Any, Any], sizes: tuple[int, int]) -> None:
        self.each, self.sizes = each, sizes
        self.is_discrete = any(constraint.is_discrete for constraint in each)
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        parts = value.split(self.sizes, -1)
        return torch.stack([c.check(part) for c, part in zip(self.each, parts, strict=True)]).all(0)

    def __repr__(self) -> str:
        return f"SideBySide({self.each}, {self.sizes})"
