"""Coordinates of normal latents that depend on other latents: centred, not centred, or in between."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from pyrodgm.distributions import NormalLogit

DATA = 8  # data that say how to centre
HALF = 0.5  # centredness before they have said so


@dataclass(frozen=True)
class PartlyCentred:
    r"""Coordinates u of a latent that is normal given others, with mean :math:`\mu` and scale :math:`\sigma`.

    .. math:: z = \mu + \sigma^{1 - c}\, (u - c \mu), \qquad p(u) = \mathcal N(u; c \mu, \sigma^c)

    With c = 1 they are the values. With c = 0 they are standard normal whatever the others are: where data say nothing
    of z, and its prior is narrow, the values lie on a thin curved set, and these do not.

    Attributes:
        fn: The normal, ``[*batch, *event]``.
        centredness: c, ``[*event]``, in [0, 1].
        event_dim: Number of dimensions of an event.

    Source: Papaspiliopoulos, Roberts and Skold (2007), Statistical Science 22, 59; Gorinova, Moore and Hoffman (2020),
    arXiv 1906.03028, equation 3.
    """

    fn: Normal
    centredness: Tensor
    event_dim: int

    def place(self, u: Tensor) -> Tensor:
        return self.fn.loc + self.fn.scale.pow(1.0 - self.centredness) * (u - self.centredness * self.fn.loc)

    def standardise(self, value: Tensor) -> Tensor:
        return (value - self.fn.loc) / self.fn.scale.pow(1.0 - self.centredness) + self.centredness * self.fn.loc

    def log_density(self, u: Tensor, value: Tensor) -> Tensor:
        log_p = -0.5 * self._residual(u).square() - self.centredness * self.fn.scale.log() - 0.5 * math.log(2 * math.pi)
        return log_p.sum(list(range(-self.event_dim, 0))) if self.event_dim else log_p

    def features(self, u: Tensor, value: Tensor) -> list[Tensor]:
        return [self._residual(u)]

    def _residual(self, u: Tensor) -> Tensor:
        return (u - self.centredness * self.fn.loc) / self.fn.scale.pow(self.centredness)


def evenly(x: Tensor) -> Tensor:
    """At most eight data, evenly spread over all."""
    return x[torch.linspace(0, len(x) - 1, min(len(x), DATA)).long()]


def normal_of(fn: Any) -> Normal | None:
    """The normal that a latent's prior is element by element, as that of a logit may be; None for another."""
    while isinstance(fn, Independent):
        fn = fn.base_dist
    if isinstance(fn, NormalLogit):
        return Normal(fn.loc, fn.scale, validate_args=False)
    return fn if isinstance(fn, Normal) else None


def is_conditional(fn: Normal) -> bool:
    """Whether a prior depends on other latents, which differ from point to point along the first dimension."""
    parameters = torch.broadcast_tensors(fn.loc, fn.scale)
    return any(bool((part != part[:1]).any()) for part in parameters)


def centredness(draws: Sequence[tuple[Normal, Tensor]]) -> Tensor:
    r"""How far to centre a latent, ``[*event]``.

    .. math:: c = 1 - \min\bigl(1, \operatorname{Var}_q[(z - \mu) / \sigma]\bigr)^2

    It is 1 where the data determine the latent and 0 where they leave it to its prior.

    Args:
        draws: Of each of some data, the prior ``[points, 1, *event]`` and draws of an approximate posterior q.
    """
    variance = torch.stack([((z - fn.loc) / fn.scale).var(0) for fn, z in draws]).mean(0).squeeze(0)
    return 1.0 - variance.nan_to_num(0.0, 1.0).clamp(max=1.0).square()
