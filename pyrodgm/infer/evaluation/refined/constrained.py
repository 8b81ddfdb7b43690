"""Unconstrained coordinates of positive latents, of latents between bounds and of points of a simplex."""

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from pyro.distributions.util import sum_rightmost
from torch import Tensor
from torch.distributions import (
    Exponential,
    Gamma,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Uniform,
    Weibull,
)
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import log1mexp, wide
from pyrodgm.infer.evaluation.refined.sticks import LEAST, SticksFromNormal, log_normal, normal_score


@dataclass(frozen=True)
class Constrained:
    r"""Coordinates of a positive latent or of a latent between bounds.

    Where the prior's distribution function F can be inverted, the prior is standard normal in u:
    :math:`F(z) = \Phi(u)`. The coordinate of a Gamma or inverse Gamma latent is its logarithm. For a shape a below 1,
    where the logarithm has a long tail, it is u of

    .. math:: s = -\log(1 - \Phi(u)), \qquad z = s^{1/a} / \text{rate}

    in which the prior is the standard normal density times a bounded factor.

    Attributes:
        fn: The prior, ``[*batch, *event]``, of a family that is registered with :func:`density`.
        event_dim: Number of dimensions of an event.
    """

    fn: Any
    event_dim: int = 0

    def place(self, u: Tensor) -> Tensor:
        return value_at(self.fn, u)

    def standardise(self, value: Tensor) -> Tensor:
        return coordinate_of(self.fn, value)

    def log_density(self, u: Tensor, value: Tensor) -> Tensor:
        return sum_rightmost(density(self.fn, u)[0], self.event_dim)

    def features(self, u: Tensor, value: Tensor) -> list[Tensor]:
        return [(density(self.fn, u)[1].detach().clamp(min=0.0).sqrt() * u).unsqueeze(-1)]


@dataclass(frozen=True)
class Fractions:
    """Coordinates of a Beta latent: the coordinates of its logit as a stick.

    Attributes:
        fn: The prior, ``[*batch, *event]``.
        event_dim: Number of dimensions of an event.
    """

    fn: Any
    event_dim: int = 0

    def place(self, u: Tensor) -> Tensor:
        return self._sticks.place(u).sigmoid()

    def standardise(self, value: Tensor) -> Tensor:
        inside = value.clamp(torch.finfo(value.dtype).tiny, 1.0 - 0.5 * torch.finfo(value.dtype).eps)
        return self._sticks.standardise(inside.logit())

    def log_density(self, u: Tensor, value: Tensor) -> Tensor:
        return self._sticks.log_density(u, value)

    def features(self, u: Tensor, value: Tensor) -> list[Tensor]:
        return self._sticks.features(u, value)

    @property
    def _sticks(self) -> SticksFromNormal:
        return SticksFromNormal(self.fn.concentration1, self.fn.concentration0, True, self.event_dim)


@dataclass(frozen=True)
class SimplexSticks(Fractions):
    r"""Coordinates of a Dirichlet latent: those of its sticks, ``[*, K - 1]`` for K weights.

    .. math:: \pi_k = v_k \prod_{j < k} (1 - v_j), \qquad
        v_k \sim \operatorname{Beta}\bigl(\alpha_k, \textstyle\sum_{j > k} \alpha_j\bigr)

    Attributes:
        fn: The Dirichlet distribution, ``[*batch, K]``.
        event_dim: Number of dimensions of an event.

    Source: Sethuraman (1994), Statistica Sinica 4, 639.
    """

    def place(self, u: Tensor) -> Tensor:
        logit = self._sticks.place(u)
        rest = logsigmoid(-logit).cumsum(-1)  # logarithm of the stick remaining after each break
        before = torch.cat([torch.zeros_like(u[..., :1]), rest[..., :-1]], -1)
        return torch.cat([logsigmoid(logit) + before, rest[..., -1:]], -1).exp()

    def standardise(self, value: Tensor) -> Tensor:
        value = value.clamp(min=torch.finfo(value.dtype).tiny)
        return self._sticks.standardise(value[..., :-1].log() - _after(value).log())

    @property
    def _sticks(self) -> SticksFromNormal:
        concentration = self.fn.concentration
        return SticksFromNormal(concentration[..., :-1], _after(concentration), True, self.event_dim)


def _after(weights: Tensor) -> Tensor:
    """For each weight but the last, the sum of the weights after it."""
    return weights.flip(-1).cumsum(-1).flip(-1)[..., 1:]


def _hazard(u: Tensor) -> Tensor:
    """Minus log(1 - Phi(u)), which is an exponential variable where u is a standard normal one, in float64."""
    return -torch.special.log_ndtr(-wide(u)).clamp(max=-LEAST)


def _score(hazard: Tensor) -> Tensor:
    """The inverse of :func:`_hazard`."""
    hazard = wide(hazard).clamp(min=LEAST)
    return normal_score(log1mexp(-hazard), -hazard)


@singledispatch
def value_at(fn: Any, u: Tensor) -> Tensor:
    """The value of the latent at the coordinate u."""
    raise NotImplementedError(f"{type(fn).__name__} has no coordinates")


@value_at.register
def _(fn: Gamma, u: Tensor) -> Tensor:
    return _log_gamma(fn, u).exp() / fn.rate


@value_at.register
def _(fn: InverseGamma, u: Tensor) -> Tensor:
    return fn.rate * (-_log_gamma(fn, u)).exp()


@value_at.register
def _(fn: Weibull, u: Tensor) -> Tensor:
    return fn.scale * (_hazard(u).log() / fn.concentration).exp().to(u.dtype)


@value_at.register
def _(fn: Exponential, u: Tensor) -> Tensor:
    return _positive(_hazard(u), u) / fn.rate


@value_at.register
def _(fn: HalfNormal, u: Tensor) -> Tensor:
    lower, upper = _tail(u), _tail(-u)
    standard = torch.where(u < 0.0, math.sqrt(2.0) * torch.erfinv(lower), -torch.special.ndtri(0.5 * upper))
    return fn.scale * _positive(standard, u)


@value_at.register
def _(fn: HalfCauchy, u: Tensor) -> Tensor:
    lower, upper = _tail(u), _tail(-u)
    standard = torch.where(u < 0.0, (0.5 * math.pi * lower).tan(), 1.0 / (0.5 * math.pi * upper).tan())
    return fn.scale * _positive(standard, u)


@value_at.register
def _(fn: Uniform, u: Tensor) -> Tensor:
    share = torch.special.log_ndtr(wide(u)).exp().clamp(max=1.0 - 0.5 * torch.finfo(u.dtype).eps)
    return fn.low + (fn.high - fn.low) * _positive(share, u)


def _tail(u: Tensor) -> Tensor:
    """Phi(u) for u < 0, in float64; torch.special.ndtr loses all digits in the tail."""
    return torch.special.log_ndtr(wide(u)).clamp(min=math.log(LEAST)).exp().clamp(max=0.5)


def _positive(value: Tensor, like: Tensor) -> Tensor:
    """``value`` in the dtype of ``like``, clamped so that it rounds neither to 0 nor to infinity."""
    limits = torch.finfo(like.dtype)
    return value.clamp(limits.tiny, limits.max).to(like.dtype)


@singledispatch
def coordinate_of(fn: Any, value: Tensor) -> Tensor:
    """The inverse of :func:`value_at`."""
    raise NotImplementedError(f"{type(fn).__name__} has no coordinates")


@coordinate_of.register
def _(fn: Exponential, value: Tensor) -> Tensor:
    return _score(fn.rate * value).to(value.dtype)


@coordinate_of.register
def _(fn: HalfNormal, value: Tensor) -> Tensor:
    standard = wide(value / fn.scale)
    upper = math.log(2.0) + torch.special.log_ndtr(-standard)
    lower = torch.erf(standard / math.sqrt(2.0)).clamp(min=LEAST).log()
    return normal_score(lower, upper.clamp(max=-LEAST)).to(value.dtype)


@coordinate_of.register
def _(fn: HalfCauchy, value: Tensor) -> Tensor:
    standard = wide(value / fn.scale)
    lower = (2.0 / math.pi * torch.atan(standard)).clamp(min=LEAST).log()
    return normal_score(lower, (2.0 / math.pi * torch.atan(1.0 / standard)).log()).to(value.dtype)


@coordinate_of.register
def _(fn: Uniform, value: Tensor) -> Tensor:
    share = (wide(value - fn.low) / (fn.high - fn.low)).clamp(LEAST, 1.0 - 1e-16)
    return normal_score(share.log(), torch.log1p(-share)).to(value.dtype)


@coordinate_of.register
def _(fn: Gamma, value: Tensor) -> Tensor:
    return _of_log_gamma(fn, _log(value) + fn.rate.log())


@coordinate_of.register
def _(fn: InverseGamma, value: Tensor) -> Tensor:
    return _of_log_gamma(fn, fn.rate.log() - _log(value))


@coordinate_of.register
def _(fn: Weibull, value: Tensor) -> Tensor:
    return _score((fn.concentration * (_log(value) - fn.scale.log())).exp()).to(value.dtype)


def _log(value: Tensor) -> Tensor:
    return value.clamp(min=torch.finfo(value.dtype).tiny).log()


def _log_gamma(fn: Any, u: Tensor) -> Tensor:
    """Logarithm at u of a Gamma latent with rate 1."""
    return torch.where(fn.concentration < 1.0, (_hazard(u).log() / fn.concentration).to(u.dtype), u)


def _of_log_gamma(fn: Any, log_z: Tensor) -> Tensor:
    return torch.where(fn.concentration < 1.0, _score((fn.concentration * log_z).exp()).to(log_z.dtype), log_z)


@singledispatch
def density(fn: Any, u: Tensor) -> tuple[Tensor, Tensor]:
    """Log-density of u and its curvature (minus the second derivative), non-negative for all families here."""
    raise NotImplementedError(f"the curvature of {type(fn).__name__} in an unconstrained coordinate is not known")


@density.register(Gamma)
@density.register(InverseGamma)
def _(fn: Any, u: Tensor) -> tuple[Tensor, Tensor]:
    a, normal = fn.concentration, log_normal(u)
    usual = a * u - u.exp() - torch.lgamma(a), u.exp()
    s, power = _hazard(u), 1.0 / a
    z = (power * s.log()).exp()
    first = torch.exp(wide(normal) + s)  # ds/du
    second = first * (first - wide(u))
    of_z = power * z / s * ((power - 1.0) * first.square() / s + second)
    small = normal + (s - z - torch.lgamma(a + 1.0)).to(u.dtype), (1.0 + of_z - second).to(u.dtype)
    return torch.where(a < 1.0, small[0], usual[0]), torch.where(a < 1.0, small[1], usual[1])


@density.register(Weibull)
@density.register(Exponential)
@density.register(HalfNormal)
@density.register(HalfCauchy)
@density.register(Uniform)
def _(fn: Any, u: Tensor) -> tuple[Tensor, Tensor]:
    del fn
    return log_normal(u), torch.ones_like(u)


FAMILIES = tuple(family for family in density.registry if family is not object)
