"""Distributions of which draws can be made but the density cannot be evaluated."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor

from pyrodgm.arithmetic.arguments import callables, whole_numbers
from pyrodgm.errors import PyrodgmError

Draw = Callable[[torch.Size], Tensor]


class NoDensityError(PyrodgmError, NotImplementedError):
    """A density was asked for where only draws can be made."""


class Implicit(dist.TorchDistribution):
    r"""The distribution of a function of random numbers, known by its draws alone.

    .. math:: x = g(\varepsilon), \qquad \varepsilon \sim p(\varepsilon)

    Draws have the gradient of the function. A function without random numbers gives a point.

    Args:
        draw: Called with a ``sample_shape``, returns draws ``[*sample_shape, *batch_shape, *event_shape]``.
        batch_shape: Batch shape.
        event_shape: Event shape; its entries are real.

    Raises:
        NoDensityError: From ``log_prob``.
        ValueError: From ``expand``, if the new batch shape does not end in the old one.

    Source: Mohamed and Lakshminarayanan (2016), arXiv 1610.03483, section 2.

    Example:
        >>> cube = Implicit(lambda shape: torch.randn(*shape, 2) ** 3, event_shape=[2])
        >>> cube.expand([5]).sample((3,)).shape
        torch.Size([3, 5, 2])
        >>> cube.log_prob(torch.zeros(2))
        Traceback (most recent call last):
        ...
        pyrodgm.distributions.implicit.NoDensityError: an Implicit distribution has draws alone, not a density
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = True

    def __init__(
        self,
        draw: Draw,
        batch_shape: Sequence[int] = (),
        event_shape: Sequence[int] = (),
        validate_args: bool | None = None,
    ) -> None:
        callables(draw=draw)
        shapes = (whole_numbers("batch_shape", batch_shape, 0), whole_numbers("event_shape", event_shape, 0))
        self.draw = draw
        super().__init__(*map(torch.Size, shapes), validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Real events."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Implicit":
        batch_shape, own, inner = torch.Size(batch_shape), self.batch_shape, self.draw
        ahead = batch_shape[: len(batch_shape) - len(own)]
        if batch_shape[len(ahead) :] != own:
            raise ValueError(f"batch_shape must end in {list(own)} for an Implicit distribution, got {batch_shape}")
        new = self._get_checked_instance(Implicit, _instance)
        new.draw = lambda shape: inner(torch.Size(shape) + ahead)
        super(Implicit, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.draw(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        raise NoDensityError("an Implicit distribution has draws alone, not a density")
