"""Coordinates of normal latents that depend on other latents: centred, non-centred, or in between."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from pyro.distributions.transforms import LowerCholeskyAffine
from pyro.distributions.util import sum_rightmost
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, Transform, TransformedDistribution
from torch.distributions.transforms import ComposeTransform

from pyrodgm.distributions import NormalLogit
from pyrodgm.infer.evaluation.refined.sites import base_of
from pyrodgm.infer.evaluation.refined.sticks import log_normal

DATA = 8  # number of data from which the centredness is estimated
HALF = 0.5  # centredness before the estimate
IDENTITY = ComposeTransform([])


@dataclass(frozen=True)
class PartlyCentred:
    r"""Coordinates u of a latent that is normal given others, with mean :math:`\mu` and scale :math:`\sigma`.

    .. math:: z = \mu + \sigma^{1 - c}\, (u - c \mu), \qquad p(u) = \mathcal N(u; c \mu, \sigma^c)

    Where the latent is a transformation of a normal, such as its exponential, z is that normal. With c = 1 (centred)
    the coordinates are the values. With c = 0 (non-centred) they are standard normal whatever the other latents are.
    Where the data say nothing about z and its prior is narrow, the values lie on a thin curved set, while the
    non-centred coordinates do not.

    Attributes:
        fn: The normal, ``[*batch, *event]``.
        centredness: c, ``[*event]``, in [0, 1].
        event_dim: Number of dimensions of an event.
        transform: The transform from the normal to the latent.

    Source: Papaspiliopoulos, Roberts and Skold (2007), Statistical Science 22, 59; Gorinova, Moore and Hoffman (2020),
    arXiv 1906.03028, equation 3.
    """

    fn: Normal
    centredness: Tensor | float
    event_dim: int
    transform: Transform

    def place(self, u: Tensor) -> Tensor:
        z = self.fn.loc + self.fn.scale.pow(1.0 - self.centredness) * (u - self.centredness * self.fn.loc)
        return self.transform(z)

    def standardise(self, value: Tensor) -> Tensor:
        z = self.transform.inv(value)
        return (z - self.fn.loc) / self.fn.scale.pow(1.0 - self.centredness) + self.centredness * self.fn.loc

    def log_density(self, u: Tensor, value: Tensor) -> Tensor:
        return sum_rightmost(log_normal(self._residual(u)) - self.centredness * self.fn.scale.log(), self.event_dim)

    def features(self, u: Tensor, value: Tensor) -> list[Tensor]:
        return [self._residual(u).unsqueeze(-1)]

    def _residual(self, u: Tensor) -> Tensor:
        return (u - self.centredness * self.fn.loc) / self.fn.scale.pow(self.centredness)


def evenly(x: Tensor) -> Tensor:
    """At most eight data, evenly spaced over all."""
    return x[torch.linspace(0, len(x) - 1, min(len(x), DATA)).long()]


class NormalPrior(NamedTuple):
    """A latent's prior as a transformation of elementwise normals.

    Attributes:
        fn: The elementwise normal; standard normal for a multivariate normal prior.
        transform: The transform from the normal to the latent.
        whitened: The multivariate normal prior, or None.
    """

    fn: Normal
    transform: Transform
    whitened: MultivariateNormal | None = None

    def expand(self, shape: torch.Size) -> "NormalPrior":
        """Expand to the shape ``[*batch, *event]``."""
        whole = None if self.whitened is None else self.whitened.expand(shape[:-1])
        return NormalPrior(self.fn.expand(shape), self.transform, whole)


def normal_of(fn: Any) -> NormalPrior | None:
    """The :class:`NormalPrior` of a prior that is normal or an elementwise transformation of a normal, else None."""
    fn = base_of(fn)
    if isinstance(fn, NormalLogit):
        return NormalPrior(Normal(fn.loc, fn.scale, validate_args=False), IDENTITY)
    if isinstance(fn, TransformedDistribution):
        base, transform = normal_of(fn.base_dist), ComposeTransform(fn.transforms)
        elementwise = transform.domain.event_dim == transform.codomain.event_dim == 0
        if base is None or base.whitened or not elementwise or not transform.bijective:
            return None
        return NormalPrior(base.fn, ComposeTransform([base.transform, transform]))
    if isinstance(fn, MultivariateNormal):
        standard = Normal(torch.zeros_like(fn.loc), torch.ones_like(fn.loc), validate_args=False)
        return NormalPrior(standard, LowerCholeskyAffine(fn.loc, fn.scale_tril), fn)
    return NormalPrior(fn, IDENTITY) if isinstance(fn, Normal) else None


def is_conditional(prior: NormalPrior) -> bool:
    """Whether a prior depends on other latents: whether its parameters differ along the first dimension (points)."""
    fn, whole = prior.fn, prior.whitened
    parameters = (fn.loc, fn.scale) if whole is None else (whole.loc, whole.scale_tril)
    return any(bool((part != part[:1]).any()) for part in parameters)


def centredness(draws: Sequence[tuple[NormalPrior, Tensor]]) -> Tensor:
    r"""Estimate the centredness c of a latent, ``[*event]``.

    .. math:: c = 1 - \min\bigl(1, \operatorname{Var}_q[(z - \mu) / \sigma]\bigr)^2

    It is 1 where the data determine the latent and 0 where they leave it to its prior.

    Args:
        draws: For each of several data, the prior ``[points, 1, *event]`` and draws of an approximate posterior q.
    """
    variance = torch.stack([((z - prior.fn.loc) / prior.fn.scale).var(0) for prior, z in draws]).mean(0).squeeze(0)
    return 1.0 - variance.nan_to_num(0.0, 1.0).clamp(max=1.0).square()
