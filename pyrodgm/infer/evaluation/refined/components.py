"""The components of a mixture prior at a point: the most responsible one, and the curvature between them."""

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from pyrodgm.distributions import DiagNormalMixture, IsotropicNormalMixture
from pyrodgm.infer.estimators.sites import Trace

MOST = 256  # components that are looked at: of tens of thousands few have a say


@singledispatch
def most_responsible(fn: Any, value: Tensor) -> Tensor | None:
    """Location ``[*, D]`` of the component most responsible for ``value`` ``[*, D]``; None where there are none."""
    del fn, value
    return None


@most_responsible.register(DiagNormalMixture)
@most_responsible.register(IsotropicNormalMixture)
def _(fn: Any, value: Tensor) -> Tensor:
    return _chosen(fn.loc, fn.responsibilities(value).argmax(-1, keepdim=True)).squeeze(-2)


@singledispatch
def between_components(fn: Any, value: Tensor) -> Tensor | None:
    r"""What the curvature of a mixture of normals lacks of that of its components, ``[*, D, D]``; None for no mixture.

    .. math:: -\nabla^2 \log \sum_k \pi_k \mathcal N(z \mid \mu_k, P_k^{-1})
        = \sum_k r_k P_k - \operatorname{Cov}_r[P_k (z - \mu_k)]

    with the responsibilities r of the components at z. This is the covariance, over the most responsible ones.
    """
    del fn, value
    return None


@between_components.register(DiagNormalMixture)
@between_components.register(IsotropicNormalMixture)
def _(fn: Any, value: Tensor) -> Tensor:
    weight = fn.responsibilities(value)
    weight, index = weight.topk(min(MOST, weight.shape[-1]), -1)
    weight = (weight / weight.sum(-1, keepdim=True)).unsqueeze(-1)
    scale = fn.scale[..., None, None] if isinstance(fn, IsotropicNormalMixture) else _chosen(fn.scale, index)
    slope = (value.unsqueeze(-2) - _chosen(fn.loc, index)) / scale.square()
    slope = weight.sqrt() * (slope - (weight * slope).sum(-2, keepdim=True))
    return slope.mT @ slope


def between_sites(trace: Trace, places: Mapping[str, Any], u: Tensor) -> Tensor:
    """Mean over points u ``[points, B, D]`` of what the mixtures among the sites of a trace lack, ``[B, D, D]``."""
    found = u.new_zeros(*u.shape[1:], u.shape[-1])
    with torch.no_grad():
        for name, place in places.items():
            part = between_components(trace.nodes[name]["fn"], place.of(u))
            if part is not None:
                found[:, place.start : place.stop, place.start : place.stop] = part.mean(0)
    return found


def _chosen(given: Tensor, index: Tensor) -> Tensor:
    """Rows ``[*, n, D]`` of ``[*, K, D]`` at indices ``[*, n]``."""
    given = given.expand(*index.shape[:-1], *given.shape[-2:])
    return given.gather(-2, index.unsqueeze(-1).expand(*index.shape, given.shape[-1]))
