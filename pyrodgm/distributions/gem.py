"""The truncated stick-breaking distribution of a Dirichlet process."""

from typing import Any

import torch
from pyro.distributions import Beta
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic import floating
from pyrodgm.distributions.stick_breaking import StickBreaking


class GEM(StickBreaking):
    r"""Truncated stick-breaking prior of a Dirichlet process: fractions Beta(1, concentration).

    .. math:: v_k \sim \mathrm{Beta}(1, \alpha), \; k < K, \qquad \pi_K = \prod_{k<K} (1 - v_k)

    Args:
        concentration: ``[*batch]``, at least 1e-15; alpha: the larger, the more sticks share the mass.
        truncation: K, the number of sticks, at least 2.

    Raises:
        ValueError: ``concentration`` is out of range (with validation on) or ``truncation`` is below 2.

    Source: Ishwaran and James (2001), JASA 96, 161.

    >>> GEM(torch.tensor(5.0), truncation=50).num_sticks()
    tensor(26)
    """

    arg_constraints = {"concentration": constraints.greater_than_eq(1e-15)}  # noqa: RUF012

    def __init__(self, concentration: Tensor | float, truncation: int, *, validate_args: bool | None = None) -> None:
        if truncation < 2:
            raise ValueError(f"truncation must be at least 2 sticks, got {truncation}")
        self.concentration = floating(torch.as_tensor(concentration))
        self.truncation = truncation
        each = self.concentration.unsqueeze(-1).expand(*self.concentration.shape, truncation - 1)
        fractions = Beta(torch.ones_like(each), each, validate_args=False).to_event(1)
        super().__init__(fractions, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "GEM":
        new = self._get_checked_instance(GEM, _instance)
        new.concentration = self.concentration.expand(batch_shape)
        new.truncation = self.truncation
        super().expand(batch_shape, _instance=new)
        return new
