"""The logit-normal distribution."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import into_open_interval, wide
from pyrodgm.distributions._numeric import keep_logs
from pyrodgm.distributions.expected_softplus import expected_softplus_normal
from pyrodgm.distributions.quadrature import normal_nodes
from pyrodgm.distributions.scalar import UnitInterval


class LogitNormal(UnitInterval):
    r"""Distribution on (0, 1) of the logistic function of a Normal draw.

    .. math:: v = \sigma(t), \quad t \sim N(\text{loc}, \text{scale}^2), \qquad
        \log p(v) = \log N(\mathrm{logit}\, v) - \log v - \log(1 - v)

    Draws lie strictly inside (0, 1) and carry their two logarithms, so that their own density is right even where v
    rounds to 0 or 1. Mean and variance are quadratures with an absolute error below 1e-10 in float64.

    Args:
        loc: ``[*batch]``, real; mean of the logit.
        scale: ``[*batch]``, positive; standard deviation of the logit.

    Raises:
        ValueError: ``scale`` is not positive, or a value is outside [0, 1] (with validation on).

    Source: Atchison and Shen (1980), Biometrika 67, 261.

    >>> LogitNormal(torch.zeros(3), torch.ones(3)).mean
    tensor([0.5000, 0.5000, 0.5000])
    """

    loc: Tensor
    scale: Tensor

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012

    def __init__(self, loc: Tensor | float, scale: Tensor | float, *, validate_args: bool | None = None) -> None:
        super().__init__(loc, scale, validate_args=validate_args)

    def _wide(self) -> tuple[Tensor, Tensor]:
        return wide(self.loc), wide(self.scale)

    def _narrow(self, result: Tensor) -> Tensor:
        return result.to(self.loc.dtype)

    def _rsample_wide_logs(self, sample_shape: Any) -> tuple[Tensor, Tensor]:
        loc, scale = self._wide()
        noise = torch.randn(self._extended_shape(sample_shape), dtype=loc.dtype, device=loc.device)
        logit = loc + scale * noise
        return logsigmoid(logit), logsigmoid(-logit)

    def log_prob_from_logs(self, log_value: Tensor, log1m_value: Tensor) -> Tensor:
        loc, scale = self._wide()
        log_v, log1m_v = wide(log_value), wide(log1m_value)
        white = (log_v - log1m_v - loc) / scale
        normal = -0.5 * white.square() - scale.log() - 0.5 * math.log(2.0 * math.pi)
        return self._narrow(normal - log_v - log1m_v)

    def _cdf_from_logs(self, log_value: Tensor, log1m_value: Tensor) -> Tensor:
        loc, scale = self._wide()
        return 0.5 * torch.erfc((loc - log_value + log1m_value) / (scale * math.sqrt(2.0)))

    def icdf(self, value: Tensor) -> Tensor:
        loc, scale = self._wide()
        logit = loc + scale * torch.special.ndtri(wide(into_open_interval(value)))
        return keep_logs(into_open_interval(self._narrow(logit.sigmoid())), logsigmoid(logit), logsigmoid(-logit))

    def _logit_nodes(self, step: float) -> tuple[Tensor, Tensor]:
        """Logits ``[*batch, nodes]`` and the weights of an expectation over them."""
        loc, scale = self._wide()
        points, weights = normal_nodes(-loc / scale, step)
        return loc.unsqueeze(-1) + scale.unsqueeze(-1) * points, weights

    @property
    def mean(self) -> Tensor:
        logit, weights = self._logit_nodes(0.1)
        return self._narrow((weights * logit.sigmoid()).sum(-1))

    @property
    def median(self) -> Tensor:
        return self.icdf(torch.full_like(self.loc, 0.5))

    @property
    def variance(self) -> Tensor:
        logit, weights = self._logit_nodes(0.1)
        fraction = logit.sigmoid()
        mean = (weights * fraction).sum(-1, keepdim=True)
        return self._narrow((weights * (fraction - mean).square()).sum(-1))

    def _expected_logs(self) -> tuple[Tensor, Tensor]:
        """E[log v] and E[log(1 - v)], in float64."""
        loc, scale = self._wide()
        expected_log1m = -expected_softplus_normal(loc, scale, single=self.loc.dtype == torch.float32)
        return loc + expected_log1m, expected_log1m

    def _negative_entropy(self) -> Tensor:
        expected_log, expected_log1m = self._expected_logs()
        return -0.5 * math.log(2.0 * math.pi * math.e) - wide(self.scale).log() - expected_log - expected_log1m
