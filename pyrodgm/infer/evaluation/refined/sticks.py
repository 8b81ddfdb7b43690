"""Coordinates of stick logits in which their prior is standard normal, or nearly so."""

import math
from dataclasses import dataclass

import torch
from pyro.distributions.util import sum_rightmost
from torch import Tensor
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import log1m_power, log1mexp, wide

LOG_SQRT_2_PI = 0.5 * math.log(2.0 * math.pi)
LEAST = 1e-300  # lower bound of an exponential variable, to avoid the logarithm of zero
NEWTON_STEPS = 12


@dataclass(frozen=True)
class SticksFromNormal:
    r"""Logits of fractions v from coordinates u that are standard normal where v ~ Kumaraswamy(a, b).

    .. math:: (1 - v^a)^b = 1 - \Phi(u), \qquad y = \log v - \log(1 - v)

    This includes Beta(1, b), with :math:`1 - v = (1 - \Phi(u))^{1/b}`. A Beta(a, b) has the same tails at both ends;
    its density in u,

    .. math:: \log p(u) = \log N(u) - \log\bigl(a b\, B(a, b)\bigr) + (b - 1)\,[\log(1 - v) - \log(1 - v^a)]

    is the normal one times a factor between two positive bounds. Everything is computed from log v and log(1 - v), in
    float64.

    Attributes:
        concentration1: a, ``[*batch, *event]``.
        concentration0: b, ``[*batch, *event]``.
        beta: Whether v is Beta(a, b) rather than Kumaraswamy(a, b).
        event_dim: Number of dimensions of an event.
    """

    concentration1: Tensor
    concentration0: Tensor
    beta: bool
    event_dim: int

    def place(self, u: Tensor) -> Tensor:
        log_v, log1m_v, _ = self._logs(u)
        return (log_v - log1m_v).to(u.dtype)

    def standardise(self, value: Tensor) -> Tensor:
        a, b = wide(self.concentration1), wide(self.concentration0)
        y = wide(value)
        upper = b * log1m_power(a, logsigmoid(y), logsigmoid(-y))  # log(1 - Phi(u))
        lower = log1mexp(upper.clamp(max=-LEAST))
        return normal_score(lower, upper).to(value.dtype)

    def log_density(self, u: Tensor, value: Tensor) -> Tensor:
        log_p = log_normal(wide(u))
        if self.beta:
            a, b = wide(self.concentration1), wide(self.concentration0)
            log_norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b) + a.log() + b.log()
            _, log1m_v, log1m_power_v = self._logs(u)
            log_p = log_p - log_norm + (b - 1.0) * (log1m_v - log1m_power_v)
        return sum_rightmost(log_p, self.event_dim).to(u.dtype)

    def features(self, u: Tensor, value: Tensor) -> list[Tensor]:
        return [u.unsqueeze(-1)]  # features of a standard normal

    def _logs(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log v, log(1 - v) and log(1 - v^a)."""
        a, b = wide(self.concentration1), wide(self.concentration0)
        share = torch.special.log_ndtr(-wide(u)).clamp(max=-LEAST) / b
        log_power = log1mexp(share)  # log(v^a)
        return log_power / a, log1m_power(1.0 / a, log_power, share), share


def log_normal(u: Tensor) -> Tensor:
    """Log-density of a standard normal variable."""
    return -0.5 * u.square() - LOG_SQRT_2_PI


def normal_score(lower: Tensor, upper: Tensor) -> Tensor:
    """The u with log Phi(u) = lower and log(1 - Phi(u)) = upper, from the smaller of the two, which is exact."""
    return torch.where(upper < lower, -_inverse_log_ndtr(upper), _inverse_log_ndtr(lower))


def _inverse_log_ndtr(log_p: Tensor) -> Tensor:
    """The x with log Phi(x) = log_p, by Newton steps from below, which increase to it because log Phi is concave."""
    x = -torch.sqrt(-2.0 * log_p)  # Phi(x) <= exp(-x^2 / 2) for x < 0
    for _ in range(NEWTON_STEPS):
        value = torch.special.log_ndtr(x)
        x = x + (log_p - value) * torch.exp(value + 0.5 * x.square() + LOG_SQRT_2_PI)
    return x
