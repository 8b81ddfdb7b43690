"""The logit of a logit-normal fraction."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic import normal_cdf
from pyrodgm.distributions.expected_softplus import expected_softplus_normal
from pyrodgm.distributions.logits.logit import Logit
from pyrodgm.distributions.quadrature import normal_nodes

LOG_SQRT_2_PI = 0.5 * math.log(2.0 * math.pi)


class NormalLogit(Logit):
    r"""Distribution of the logit of a logit-normal fraction, which is Normal.

    .. math:: \log p(y) = \log N(y; \text{loc}, \text{scale}^2)

    Args:
        loc: ``[*batch]``, real.
        scale: ``[*batch]``, positive.

    Raises:
        ValueError: ``scale`` is not positive (with validation on).

    Source: Atchison and Shen (1980), Biometrika 67, 261.

    >>> NormalLogit(torch.zeros(3), torch.ones(3)).fraction_moments()[0]
    tensor([0.5000, 0.5000, 0.5000])
    """

    loc: Tensor
    scale: Tensor

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012

    def __init__(self, loc: Tensor | float, scale: Tensor | float, *, validate_args: bool | None = None) -> None:
        super().__init__(loc, scale, validate_args=validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + self.scale * noise

    def _log_density(self, logit: Tensor) -> Tensor:
        return -0.5 * ((logit - self.loc) / self.scale).square() - self.scale.log() - LOG_SQRT_2_PI

    def cdf(self, value: Tensor) -> Tensor:
        return normal_cdf((value - self.loc) / self.scale)

    def icdf(self, value: Tensor) -> Tensor:
        """The logit below which there is the share ``value`` in (0, 1)."""
        return self.loc + self.scale * torch.special.ndtri(value)

    def expected_logs(self) -> tuple[Tensor, Tensor]:
        loc, scale = self._wide()
        expected_log1m = -expected_softplus_normal(loc, scale, single=self.loc.dtype == torch.float32)
        return loc + expected_log1m, expected_log1m

    def negative_entropy(self, expected_log: Tensor, expected_log1m: Tensor) -> Tensor:
        return -self._wide()[1].log() - LOG_SQRT_2_PI - 0.5

    def fraction_moments(self) -> tuple[Tensor, Tensor]:
        loc, scale = self._wide()
        points, weights = normal_nodes(-loc / scale, 0.1)
        fraction = (loc.unsqueeze(-1) + scale.unsqueeze(-1) * points).sigmoid()
        mean = (weights * fraction).sum(-1, keepdim=True)
        return self._narrow(mean.squeeze(-1)), self._narrow((weights * (fraction - mean).square()).sum(-1))

    @property
    def variance(self) -> Tensor:
        return self.scale.square()
