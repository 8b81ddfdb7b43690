"""Coordinates of latent sites: the values themselves for real latents, a bijection for constrained ones and sticks."""

from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Protocol

from torch import Tensor
from torch.distributions import Beta, Dirichlet, Independent, TransformedDistribution

from pyrodgm.distributions import BetaLogit, KumaraswamyLogit
from pyrodgm.infer.evaluation.refined.centring import PartlyCentred, normal_of
from pyrodgm.infer.evaluation.refined.constrained import FAMILIES, Constrained, Fractions, SimplexSticks
from pyrodgm.infer.evaluation.refined.curvature import prior_features
from pyrodgm.infer.evaluation.refined.sticks import SticksFromNormal


class Bijection(Protocol):
    """Protocol of bijections between unconstrained coordinates u and the values of a latent site."""

    def place(self, u: Tensor) -> Tensor:
        """Values ``[*batch, *event]`` at coordinates u."""
        ...

    def standardise(self, value: Tensor) -> Tensor:
        """The inverse of :meth:`place`."""
        ...

    def log_density(self, u: Tensor, value: Tensor) -> Tensor:
        """Log-density of the prior with respect to u, ``[*batch]``, at ``value``, which is ``place(u)``."""
        ...

    def features(self, u: Tensor, value: Tensor) -> list[Tensor]:
        """Features, ``[points, B, *]`` each, whose J'J is the curvature of :meth:`log_density` (:mod:`.curvature`)."""
        ...


@dataclass(frozen=True)
class Identity:
    """The identity: the coordinates are the values."""

    fn: Any

    def place(self, u: Tensor) -> Tensor:
        return u

    def standardise(self, value: Tensor) -> Tensor:
        return value

    def log_density(self, u: Tensor, value: Tensor) -> Tensor:
        return self.fn.log_prob(value)

    def features(self, u: Tensor, value: Tensor) -> list[Tensor]:
        return prior_features(self.fn, value)


@singledispatch
def bijection(fn: Any, event_dim: int = 0) -> Bijection:
    """The bijection for a latent site with the prior ``fn``."""
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
    return (
        Identity(fn)
        if normal is None
        else PartlyCentred(normal.fn, 1.0, event_dim + len(fn.event_shape), normal.transform)
    )


@bijection.register
def _(fn: Dirichlet, event_dim: int = 0) -> Bijection:
    return SimplexSticks(fn, event_dim + 1)


bijection.register(Beta, Fractions)
for family in FAMILIES:
    bijection.register(family, Constrained)
