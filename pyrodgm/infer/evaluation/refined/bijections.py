"""Coordinates of latent sites: real ones as they stand, constrained ones and sticks by a bijection."""

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Independent, TransformedDistribution
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import log1m_power, log1mexp, wide
from pyrodgm.distributions import BetaLogit, KumaraswamyLogit
from pyrodgm.infer.evaluation.refined.centring import PartlyCentred, normal_of
from pyrodgm.infer.evaluation.refined.constrained import FAMILIES, Constrained
from pyrodgm.infer.evaluation.refined.curvature import prior_features

LOG_SQRT_2_PI = 0.5 * math.log(2.0 * math.pi)
LEAST = 1e-300  # of an exponential draw: no logarithm of zero
NEWTON_STEPS = 12


class Bijection(Protocol):
    """Between coordinates and the values of a latent site, element by element."""

    def place(self, u: Tensor) -> Tensor:
        """Values ``[*batch, *event]`` at coordinates of that shape."""
        ...

    def standardise(self, value: Tensor) -> Tensor:
        """The inverse of :meth:`place`."""
        ...

    def log_density(self, u: Tensor, value: Tensor) -> Tensor:
        """Log-density of the prior with respect to u, ``[*batch]``, at ``value``, which is ``place(u)``."""
        ...

    def features(self, u: Tensor, value: Tensor) -> list[Tensor]:
        """Those whose J'J is the curvature of that density, ``[points, B, *]`` each (:mod:`.curvature`)."""
        ...


@dataclass(frozen=True)
class Identity:
    """The coordinates are the values."""

    fn: Any

    def place(self, u: Tensor) -> Tensor:
        return u

    def standardise(self, value: Tensor) -> Tensor:
        return value

    def log_density(self, u: Tensor, value: Tensor) -> Tensor:
        return self.fn.log_prob(value)

    def features(self, u: Tensor, value: Tensor) -> list[Tensor]:
        return prior_features(self.fn, value)


@dataclass(frozen=True)
class SticksFromNormal:
    r"""Logits of fractions v from coordinates u that are standard normal where v ~ Kumaraswamy(a, b).

    .. math:: (1 - v^a)^b = 1 - \Phi(u), \qquad y = \log v - \log(1 - v)

    So is Beta(1, b), with :math:`1 - v = (1 - \Phi(u))^{1/b}`. A Beta(a, b) has the same tails at both ends; with

    .. math:: \log p(u) = \log N(u) - \log\bigl(a b\, B(a, b)\bigr) + (b - 1)\,[\log(1 - v) - \log(1 - v^a)]

    its density in u is the normal one times a factor between two positive bounds. All of it is computed from log v and
    log(1 - v), in float64.

    Attributes:
        concentration1: a, ``[*batch, *event]``.
        concentration0: b, likewise.
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
        # Of the two tails the smaller is the exact one; the other is close to 1.
        u = torch.where(upper < lower, -_inverse_log_ndtr(upper), _inverse_log_ndtr(lower))
        return u.to(value.dtype)

    def log_density(self, u: Tensor, value: Tensor) -> Tensor:
        log_p = -0.5 * wide(u).square() - LOG_SQRT_2_PI
        if self.beta:
            a, b = wide(self.concentration1), wide(self.concentration0)
            log_norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b) + a.log() + b.log()
            _, log1m_v, log1m_power_v = self._logs(u)
            log_p = log_p - log_norm + (b - 1.0) * (log1m_v - log1m_power_v)
        return log_p.sum(list(range(-self.event_dim, 0))).to(u.dtype) if self.event_dim else log_p.to(u.dtype)

    def features(self, u: Tensor, value: Tensor) -> list[Tensor]:
        return [u.unsqueeze(-1)]  # of a standard normal

    def _logs(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log v, log(1 - v) and log(1 - v^a)."""
        a, b = wide(self.concentration1), wide(self.concentration0)
        share = torch.special.log_ndtr(-wide(u)).clamp(max=-LEAST) / b
        log_power = log1mexp(share)  # log(v^a)
        return log_power / a, log1m_power(1.0 / a, log_power, share), share


@singledispatch
def bijection(fn: Any, event_dim: int = 0) -> Bijection:
    """The coordinates of a latent site with the prior ``fn``."""
    del event_dim
    return Identity(fn)


@bijection.register(Independent)
def _(fn: Any, event_dim: int = 0) -> Bijection:
    inner = bijection(fn.base_dist, event_dim + fn.reinterpreted_batch_ndims)
    return Identity(fn) if isinstance(inner, Identity) else inner


@bijection.register(BetaLogit)
@bijection.register(KumaraswamyLogit)
def _(fn: Any, event_dim: int = 0) -> Bijection:
    return SticksFromNormal(fn.concentration1, fn.concentration0, isinstance(fn, BetaLogit), event_dim)


@bijection.register
def _(fn: TransformedDistribution, event_dim: int = 0) -> Bijection:
    normal = normal_of(fn)
    return Identity(fn) if normal is None else PartlyCentred(normal.fn, 1.0, event_dim, normal.transform)


def _constrained(fn: Any, event_dim: int = 0) -> Bijection:
    return Constrained(fn, event_dim)


for family in FAMILIES:
    bijection.register(family, _constrained)


def _inverse_log_ndtr(log_p: Tensor) -> Tensor:
    """The x with log Phi(x) = log_p, by Newton's steps from below, which rise to it: log Phi is concave."""
    x = -torch.sqrt(-2.0 * log_p)  # Phi(x) <= exp(-x^2 / 2) for x < 0
    for _ in range(NEWTON_STEPS):
        value = torch.special.log_ndtr(x)
        x = x + (log_p - value) * torch.exp(value + 0.5 * x.square() + LOG_SQRT_2_PI)
    return x
