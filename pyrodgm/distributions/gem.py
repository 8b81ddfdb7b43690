"""The truncated stick-breaking distribution of a Dirichlet process, over weights and over logits."""

from typing import Any

import torch
from pyro.distributions import Beta, TorchDistribution, is_validation_enabled
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic.arguments import validated, whole_number
from pyrodgm.distributions.logits import BetaLogit
from pyrodgm.distributions.parameters import broadcast_parameters
from pyrodgm.distributions.stick_breaking import StickBreaking
from pyrodgm.distributions.stick_logits import StickLogits


class _DirichletProcess:
    """What the two have in common; goes before the distribution of sticks that it gives its fractions to."""

    arg_constraints: dict[str, constraints.Constraint] = {"concentration": constraints.greater_than_eq(1e-15)}  # noqa: RUF012

    def __init__(self, concentration: Tensor | float, truncation: int, *, validate_args: bool | None = None) -> None:
        truncation = whole_number("truncation", truncation, 2)
        (self.concentration,), self.truncation = broadcast_parameters(concentration=concentration), truncation
        # Here, since the logits' base, an Independent, looks at nothing.
        if is_validation_enabled() if validate_args is None else validate_args:
            validated(concentration=self.concentration)
            if not (self.concentration >= 1e-15).all():
                raise ValueError(f"concentration must be at least 1e-15, got {self.concentration.min():g}")
        each = self.concentration.unsqueeze(-1).expand(*self.concentration.shape, truncation - 1)
        fractions = self._fractions(torch.ones_like(each), each)
        super().__init__(fractions, validate_args=validate_args)  # type: ignore[call-arg]  # of the sticks

    @staticmethod
    def _fractions(one: Tensor, concentration: Tensor) -> TorchDistribution:
        raise NotImplementedError

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(_DirichletProcess, _instance)  # type: ignore[attr-defined]  # of the sticks
        new.concentration, new.truncation = self.concentration.expand(batch_shape), self.truncation
        return super().expand(batch_shape, _instance=new)  # type: ignore[misc]  # of the sticks


class GEM(_DirichletProcess, StickBreaking):
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

    @staticmethod
    def _fractions(one: Tensor, concentration: Tensor) -> TorchDistribution:
        return Beta(one, concentration, validate_args=False).to_event(1)


class GEMLogits(_DirichletProcess, StickLogits):
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

    @staticmethod
    def _fractions(one: Tensor, concentration: Tensor) -> TorchDistribution:
        return BetaLogit(one, concentration, validate_args=False)
