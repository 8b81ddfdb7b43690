"""Divergences between stick-breaking distributions."""

import torch
from pyro.distributions import Beta
from torch import Tensor
from torch.distributions import kl_divergence, register_kl

from pyrodgm.distributions.divergences.fractions import _beta_parameters
from pyrodgm.distributions.stick_breaking import StickBreaking

__all__: list[str] = []


@register_kl(StickBreaking, StickBreaking)
def _kl_stick_breaking_stick_breaking(p: StickBreaking, q: StickBreaking) -> Tensor:
    # The map from fractions to weights is one to one, so the divergence is that of the fractions.
    if p.event_shape != q.event_shape:
        raise ValueError(f"expected as many sticks in q as in p, {p.event_shape[0]}, got {q.event_shape[0]}")
    base, other = p.fractions.base_dist, q.fractions.base_dist
    if isinstance(base, torch.distributions.Beta) and isinstance(other, torch.distributions.Beta):
        return p._narrow(_kl_beta_beta(base, other).sum(-1))
    return kl_divergence(p.fractions, q.fractions)


def _kl_beta_beta(p: Beta, q: Beta) -> Tensor:
    """In float64: PyTorch's own, in float32, is below zero for parameters that are nearly equal."""
    (a, b, p_norm), (alpha, beta, q_norm) = _beta_parameters(p), _beta_parameters(q)
    total = torch.digamma(a + b)
    return q_norm - p_norm + (a - alpha) * (torch.digamma(a) - total) + (b - beta) * (torch.digamma(b) - total)
