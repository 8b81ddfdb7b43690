"""Divergences between distributions of sticks."""

from torch import Tensor
from torch.distributions import kl_divergence, register_kl

from pyrodgm.distributions.stick_breaking import StickBreaking
from pyrodgm.distributions.stick_logits import StickLogits

__all__: list[str] = []


@register_kl(StickLogits, StickLogits)
def _kl_stick_logits_stick_logits(p: StickLogits, q: StickLogits) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(f"q must have as many sticks as p, {p.event_shape[0] + 1}, got {q.event_shape[0] + 1}")
    return kl_divergence(p.base_dist, q.base_dist).sum(-1)


@register_kl(StickBreaking, StickBreaking)
def _kl_stick_breaking_stick_breaking(p: StickBreaking, q: StickBreaking) -> Tensor:
    # The map from fractions to weights is one to one, so the divergence is that of the fractions.
    return kl_divergence(p.logits, q.logits)
