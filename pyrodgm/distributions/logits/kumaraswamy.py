"""The logit of a Kumaraswamy fraction."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import (
    kumaraswamy_log_moment,
    kumaraswamy_logit,
    kumaraswamy_logs,
    log1m_power,
    wide,
    with_slopes,
)
from pyrodgm.distributions.expected_log1m_power import expected_log1m_power
from pyrodgm.distributions.logits.logit import ConcentrationLogit
from pyrodgm.distributions.quadrature import exponential_nodes

EULER = 0.5772156649015329
LEAST_NOISE = 1e-290  # its quotients by concentrations are normal numbers


class KumaraswamyLogit(ConcentrationLogit):
    r"""Distribution of the logit of v ~ Kumaraswamy(a, b).

    .. math:: \log p(y) = \log a b + a \log v + \log(1 - v) + (b - 1) \log(1 - v^a), \qquad v = \sigma(y)

    A draw is :math:`\mathrm{logit}\,(1 - u^{1/b})^{1/a}` of a uniform u, computed in float64 with its derivatives.

    Args:
        concentration1: ``[*batch]``, at least 1e-15; a.
        concentration0: ``[*batch]``, at least 1e-15; b.

    Raises:
        ValueError: A parameter is out of range (with validation on).

    Sources: Kumaraswamy (1980), J. Hydrology 46, 79; Wasserman and Mateos (2024), arXiv 2410.00660 (log space).

    >>> logits = KumaraswamyLogit(torch.full((3,), 0.01), torch.full((3,), 0.01))
    >>> y = logits.rsample()
    >>> bool((y.isfinite() & logits.log_prob(y.clone()).isfinite()).all())
    True
    """

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        like = self._wide()[0].detach().expand(self._extended_shape(sample_shape))
        return self.transport(torch.empty_like(like, memory_format=torch.contiguous_format).exponential_())

    def transport(self, exponential: Tensor) -> Tensor:
        r"""The y with :math:`(1 - v^a)^b = e^{-\text{exponential}}`, increasing in it; ``[*, *batch]`` in float64."""
        a, b = (parameter.detach() for parameter in self._wide())
        value, *slopes = kumaraswamy_logit(a, b, exponential.clamp(min=LEAST_NOISE))
        if not torch.is_grad_enabled():
            return self._narrow(value)
        given = (self.concentration1, self.concentration0)
        return with_slopes(self._narrow(value), given, [self._narrow(slope) for slope in slopes])

    def _log_density(self, logit: Tensor) -> Tensor:
        a, b = self.concentration1, self.concentration0
        log_v, log1m_v = logsigmoid(logit), logsigmoid(-logit)
        return a.log() + b.log() + a * log_v + log1m_v + (b - 1.0) * log1m_power(a, log_v, log1m_v)

    def cdf(self, value: Tensor) -> Tensor:
        log_v, log1m_v = logsigmoid(value), logsigmoid(-value)
        return -torch.expm1(self.concentration0 * log1m_power(self.concentration1, log_v, log1m_v))

    def icdf(self, value: Tensor) -> Tensor:
        """The logit below which there is the share ``value`` in (0, 1); without gradient with respect to that."""
        return self.transport(-torch.log1p(-wide(value).detach()))

    def expected_log(self) -> Tensor:
        """E[log v], ``[*batch]`` in float64."""
        a, b = self._wide()
        return -(EULER + torch.digamma(1.0 + b)) / a

    def expected_logs(self) -> tuple[Tensor, Tensor]:
        return self.expected_log(), self.expected_log1m_power(torch.ones_like(self._wide()[0]))

    def expected_log1m_power(self, power: Tensor) -> Tensor:
        """E[log(1 - v^power)] in float64, ``[*batch]`` with the power's batch."""
        a, b = self._wide()
        return expected_log1m_power(power / a, b, single=self.concentration1.dtype == torch.float32)

    def negative_entropy(self, expected_log: Tensor, expected_log1m: Tensor) -> Tensor:
        a, b = self._wide()
        return a.log() + b.log() + a * expected_log + expected_log1m - (b - 1.0) / b

    def fraction_mean(self) -> Tensor:
        a, b = self._wide()
        return self._narrow(kumaraswamy_log_moment(a, b, 1).exp())

    def fraction_moments(self) -> tuple[Tensor, Tensor]:
        a, b = self._wide()
        log_mean, log_square = kumaraswamy_log_moment(a, b, 1), kumaraswamy_log_moment(a, b, 2)
        closed = -log_square.exp() * torch.expm1(2.0 * log_mean - log_square)
        log_v, _, weights = self._nodes()
        spread = (log_v.exp() - log_mean.exp()).square()
        # The difference of moments cancels where the spread is small; the quadrature is good just there.
        variance = torch.where(log_square - 2.0 * log_mean > 0.02, closed, torch.einsum("n,n...->...", weights, spread))
        return self._narrow(log_mean.exp()), self._narrow(variance)

    @property
    def variance(self) -> Tensor:
        log_v, log1m_v, weights = self._nodes()
        logit = log_v - log1m_v
        spread = (logit - torch.einsum("n,n...->...", weights, logit)).square()
        return self._narrow(torch.einsum("n,n...->...", weights, spread))

    def _nodes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Log v and log(1 - v), ``[nodes, *batch]``, and weights ``[nodes]`` of an expectation."""
        a, b = self._wide()
        points, weights = exponential_nodes(a, 121, reach=3.2)
        return *kumaraswamy_logs(a, b, points.reshape(-1, *[1] * len(self.batch_shape))), weights
