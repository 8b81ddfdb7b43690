"""Mixture priors at a point: the most responsible component, and the curvature between the components."""

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from pyrodgm.distributions import DiagNormalMixture, IsotropicNormalMixture
from pyrodgm.infer.estimators.sites import Trace

MOST = 256  # number of most responsible components used; the rest of tens of thousands are negligible


@singledispatch
def most_responsible(fn: Any, value: Tensor) -> Tensor | None:
    """Location ``[*, D]`` of the component most responsible for ``value`` ``[*, D]``; None if ``fn`` is no mixture."""
    del fn, value
    return None


@most_responsible.register(DiagNormalMixture)
@most_responsible.register(IsotropicNormalMixture)
def _(fn: Any, value: Tensor) -> Tensor:
    return _chosen(fn.loc, fn.responsibilities(value).argmax(-1, keepdim=True)).squeeze(-2)


@singledispatch
def between_components(fn: Any, value: Tensor) -> Tensor | None:
    r"""The curvature between the components of a mixture of normals, ``[*, D, D]``; None if ``fn`` is no mixture.

    It is the covariance in

    .. math:: -\nabla^2 \log \sum_k \pi_k \mathcal N(z \mid \mu_k, P_k^{-1})
        = \sum_k r_k P_k - \operatorname{Cov}_r[P_k (z - \mu_k)]

    over the most responsible components, with the responsibilities r at z.
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
    """Mean over points u ``[points, B, D]`` of the curvature between components, over all sites, ``[B, D, D]``."""
    found = u.new_zeros(*u.shape[1:], u.shape[-1])
    with torch.no_grad():
        for name, place in places.items():
            part = between_components(trace.nodes[name]["fn"], place.of(u))
            if part is not None:
                found[:, place.start : place.stop, place.start : place.stop] = part.mean(0)
    return found


def _chosen(given: Tensor, index: Tensor) -> Tensor:
    """Gather rows ``[*, n, D]`` of ``given`` ``[*, K, D]`` at indices ``[*, n]``."""
    given = given.expand(*index.shape[:-1], *given.shape[-2:])
    return given.gather(-2, index.unsqueeze(-1).expand(*index.shape, given.shape[-1]))
