"""The divergence of sticks that a recurrent network draws from independent priors."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import kl_divergence, register_kl

from pyrodgm.distributions.divergences.given import register_given
from pyrodgm.distributions.logits import Logit
from pyrodgm.distributions.recurrent_sticks import RecurrentSticks
from pyrodgm.distributions.stick_logits import StickLogits

__all__: list[str] = []


@register_given(RecurrentSticks, torch.distributions.Independent)
def _recurrent_sticks_given(q: RecurrentSticks, p: Any, value: Tensor) -> Tensor:
    # Exact for each time step given the draw of the steps before.
    if p.reinterpreted_batch_ndims != 2 or not isinstance(p.base_dist, Logit):
        raise NotImplementedError
    return kl_divergence(q.given_past(q.run(value)), StickLogits(p.base_dist, validate_args=False)).sum(-1)


@register_kl(RecurrentSticks, torch.distributions.Independent)
def _kl_recurrent_sticks_independent(q: RecurrentSticks, p: Any) -> Tensor:
    return _recurrent_sticks_given(q, p, q.rsample())
