"""Coordinates of positive latents and of fractions: their logarithms and logits, element by element."""

import math
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Beta,
    Exponential,
    Gamma,
    HalfCauchy,
    HalfNormal,
    InverseGamma,
    Uniform,
    Weibull,
    biject_to,
)
from torch.nn.functional import logsigmoid


@dataclass(frozen=True)
class Constrained:
    """The logarithm of a latent on a half-line, the logit of one on an interval.

    Attributes:
        fn: The prior, ``[*batch, *event]``, whose density and curvature in u :func:`density` knows.
        event_dim: Number of dimensions of an event.
    """

    fn: Any
    event_dim: int

    def place(self, u: Tensor) -> Tensor:
        return biject_to(self.fn.support)(u)

    def standardise(self, value: Tensor) -> Tensor:
        u = biject_to(self.fn.support).inv(value)
        return u.nan_to_num(neginf=math.log(torch.finfo(u.dtype).tiny))  # draws may round to the end of a half-line

    def log_density(self, u: Tensor, value: Tensor) -> Tensor:
        log_p = density(self.fn, u)[0]
        return log_p.sum(list(range(-self.event_dim, 0))) if self.event_dim else log_p

    def features(self, u: Tensor, value: Tensor) -> list[Tensor]:
        return [(density(self.fn, u)[1].detach().sqrt() * u).unsqueeze(-1)]


@singledispatch
def density(fn: Any, u: Tensor) -> tuple[Tensor, Tensor]:
    """Log-density of u and its curvature, minus the second derivative, which no family here has negative."""
    raise NotImplementedError(f"the curvature of {type(fn).__name__} in an unconstrained coordinate is not known")


@density.register
def _(fn: Gamma, u: Tensor) -> tuple[Tensor, Tensor]:
    mean = fn.rate * u.exp()
    log_norm = fn.concentration * fn.rate.log() - torch.lgamma(fn.concentration)
    return fn.concentration * u - mean + log_norm, mean


@density.register
def _(fn: InverseGamma, u: Tensor) -> tuple[Tensor, Tensor]:
    mean = fn.rate * (-u).exp()
    log_norm = fn.concentration * fn.rate.log() - torch.lgamma(fn.concentration)
    return -fn.concentration * u - mean + log_norm, mean


@density.register
def _(fn: Exponential, u: Tensor) -> tuple[Tensor, Tensor]:
    mean = fn.rate * u.exp()
    return fn.rate.log() + u - mean, mean


@density.register
def _(fn: Weibull, u: Tensor) -> tuple[Tensor, Tensor]:
    log_power = fn.concentration * (u - fn.scale.log())
    return fn.concentration.log() + log_power - log_power.exp(), fn.concentration.square() * log_power.exp()


@density.register
def _(fn: HalfNormal, u: Tensor) -> tuple[Tensor, Tensor]:
    square = (2.0 * (u - fn.scale.log())).exp()
    return 0.5 * torch.log(u.new_tensor(2.0 / torch.pi)) - fn.scale.log() + u - 0.5 * square, 2.0 * square


@density.register
def _(fn: HalfCauchy, u: Tensor) -> tuple[Tensor, Tensor]:
    ratio = 2.0 * (u - fn.scale.log())
    log_p = torch.log(u.new_tensor(2.0 / torch.pi)) - fn.scale.log() + u + logsigmoid(-ratio)
    return log_p, 4.0 * ratio.sigmoid() * (-ratio).sigmoid()


@density.register
def _(fn: Beta, u: Tensor) -> tuple[Tensor, Tensor]:
    a, b = fn.concentration1, fn.concentration0
    log_norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    return a * logsigmoid(u) + b * logsigmoid(-u) - log_norm, (a + b) * u.sigmoid() * (-u).sigmoid()


@density.register
def _(fn: Uniform, u: Tensor) -> tuple[Tensor, Tensor]:
    return logsigmoid(u) + logsigmoid(-u), 2.0 * u.sigmoid() * (-u).sigmoid()


FAMILIES = tuple(family for family in density.registry if family is not object)
