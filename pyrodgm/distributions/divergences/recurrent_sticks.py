"""The divergence of sticks that a recurrent network draws from independent priors."""

import torch
from torch import Tensor
from torch.distributions import kl_divergence, register_kl

from pyrodgm.distributions.recurrent_sticks import RecurrentSticks
from pyrodgm.distributions.stick_breaking import StickBreaking

__all__: list[str] = []


@register_kl(RecurrentSticks, torch.distributions.Independent)
def _kl_recurrent_sticks_independent(p: RecurrentSticks, q: torch.distributions.Independent) -> Tensor:
    if q.reinterpreted_batch_ndims != 1 or not isinstance(q.base_dist, StickBreaking):
        raise NotImplementedError
    if p._last is None:
        p.rsample()
    assert p._last is not None
    return kl_divergence(p.given_past(p._last[1]), q.base_dist).sum(-1)
