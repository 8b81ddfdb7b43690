"""The logits of the fractions of a truncated Dirichlet process."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic import floating
from pyrodgm.distributions.logits import BetaLogit
from pyrodgm.distributions.stick_logits import StickLogits


class GEMLogits(StickLogits):
    r"""Logits of the fractions of a truncated Dirichlet process, each Beta(1, concentration).

    .. math:: v_k \sim \mathrm{Beta}(1, \alpha), \; k < K, \qquad y_k = \log v_k - \log(1 - v_k)

    Args:
        concentration: ``[*batch]``, at least 1e-15; alpha: the larger, the more sticks share the mass.
        truncation: K, the number of sticks, at least 2.

    Raises:
        ValueError: ``concentration`` is out of range (with validation on) or ``truncation`` is below 2.

    Source: Ishwaran and James (2001), JASA 96, 161.

    >>> GEMLogits(torch.tensor(5.0), truncation=50).num_sticks()
    tensor(26)
    """

    arg_constraints = {"concentration": constraints.greater_than_eq(1e-15)}  # noqa: RUF012

    def __init__(self, concentration: Tensor | float, truncation: int, *, validate_args: bool | None = None) -> None:
        if truncation < 2:
            raise ValueError(f"truncation must be at least 2 sticks, got {truncation}")
        self.concentration, self.truncation = floating(torch.as_tensor(concentration)), truncation
        each = self.concentration.unsqueeze(-1).expand(*self.concentration.shape, truncation - 1)
        super().__init__(BetaLogit(torch.ones_like(each), each, validate_args=False), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "GEMLogits":
        new = self._get_checked_instance(GEMLogits, _instance)
        new.concentration, new.truncation = self.concentration.expand(batch_shape), self.truncation
        return super().expand(batch_shape, _instance=new)
