"""The divergences of independent units from a Boltzmann machine."""

import torch
from pyro.distributions import Independent
from torch import Tensor
from torch.distributions import register_kl

from pyrodgm.boltzmann import Bits, bernoulli_entropy
from pyrodgm.distributions.boltzmann_machine import BoltzmannMachine
from pyrodgm.distributions.factorized_categorical import FactorizedCategorical

__all__: list[str] = []


@register_kl(torch.distributions.Independent, BoltzmannMachine)
def _kl_bernoulli_boltzmann_machine(p: Independent, q: BoltzmannMachine) -> Tensor:
    # The energy is linear in each side, so its expectation under independent units is that of their means.
    if not isinstance(p.base_dist, torch.distributions.Bernoulli) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    if p.event_shape != q.event_shape:
        raise ValueError(f"expected as many units in p as in q, {q.event_shape[0]}, got {p.event_shape[0]}")
    if not isinstance(q.units, Bits):
        raise NotImplementedError
    entropy = bernoulli_entropy(p.base_dist.logits).sum(-1)
    divergence = q.log_partition - q.negative_energy(p.base_dist.probs) - entropy
    return divergence.expand(torch.broadcast_shapes(p.batch_shape, q.batch_shape))


@register_kl(FactorizedCategorical, BoltzmannMachine)
def _kl_categorical_boltzmann_machine(p: FactorizedCategorical, q: BoltzmannMachine) -> Tensor:
    if p.states != q.units:
        raise NotImplementedError
    if p.event_shape != q.event_shape:
        raise ValueError(f"expected as many columns in p as in q, {q.event_shape[0]}, got {p.event_shape[0]}")
    negative_entropy = -p.states.entropy(p.logits).sum(-1)
    divergence = q.log_partition - q.negative_energy(p.probs) + negative_entropy
    return divergence.expand(torch.broadcast_shapes(p.batch_shape, q.batch_shape))
