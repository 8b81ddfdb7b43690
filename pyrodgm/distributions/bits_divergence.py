"""The divergence of the bits behind smoothed variables, from a posterior over groups to a Boltzmann machine."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import register_kl
from torch.nn.functional import logsigmoid

from pyrodgm.distributions.hierarchical import Hierarchical
from pyrodgm.distributions.overlapping_bernoulli import OverlappingBernoulli
from pyrodgm.distributions.spike_boltzmann import SpikeBoltzmann
from pyrodgm.distributions.spike_exponential import SpikeExponential


def bits_divergence(q: Hierarchical, p: Any) -> Tensor:
    r"""Divergence of bits and smoothed bits together, where only the smoothed bits are seen.

    .. math:: \mathrm{KL}\bigl(q(z, \zeta) \,\|\, p(z)\, r(\zeta \mid z)\bigr)
        = \mathbb E_{q(\zeta)} \sum_i \bigl[-H(q(z_i \mid \zeta_{<i}))\bigr] - \mathbb E_{q(z)}[\log p(z)]

    Entropies are exact given the earlier groups, and so is the cross-entropy: a pair of bits of one group has the
    product of its probabilities; of two groups, that of the earlier bit given its own zeta too,
    :math:`\sigma(\text{logits} + \log r(\zeta \mid 1) - \log r(\zeta \mid 0))`, times that of the later. With one group
    nothing is sampled. With more it is an unbiased estimate at the last draw of `q`, with unbiased gradients; those of
    :class:`SpikeExponential` are Rolfe's.

    It is never less than :math:`\mathrm{KL}(q(\zeta) \,\|\, p(\zeta))`, so that a bound with it in place of that one
    remains a bound. For :class:`SpikeExponential` the two are equal, and the registry has it.

    Args:
        q: groups of :class:`OverlappingBernoulli` or :class:`SpikeExponential`.
        p: anything with a `machine`, a Boltzmann machine over as many bits, such as :class:`RelaxedBoltzmann`; its
            smoothing must be that of `q`.

    Returns:
        `[*batch]`, in nats.

    Raises:
        NotImplementedError: `q` or `p` is something else, as from `torch.distributions.kl_divergence`.

    Source: Vahdat et al. (2018), DVAE++, arXiv 1802.04920, section 3; Rolfe (2017), arXiv 1609.02200, eq. 12.
    """
    machine = getattr(p, "machine", None)
    if not isinstance(q, Hierarchical) or machine is None:
        raise NotImplementedError(f"no bits in {type(q).__name__} and {type(p).__name__}")
    value, groups = q.groups()
    bases = [getattr(group, "base_dist", group) for group in groups]
    values = value.split(q.sizes, -1)
    logits = torch.cat([base.logits for base in bases], -1)
    probs = logits.sigmoid()
    negative_entropy = probs * logsigmoid(logits) + (-logits).sigmoid() * logsigmoid(-logits)
    # A left unit is never in a later group than a right one: the left side comes first.
    weights, left_bias, right_bias = machine.parameters
    left = len(left_bias)
    energy = probs[..., :left] @ left_bias + probs[..., left:] @ right_bias
    start = 0
    given: list[Tensor] = []
    for base, own in zip(bases, values, strict=True):
        end = start + own.shape[-1]
        if end > left:
            first = max(start, left)
            earlier = torch.cat([*given, probs[..., start:]], -1)[..., :left]
            field = earlier @ weights[:, first - left : end - left]
            energy = energy + (field * probs[..., first:end]).sum(-1)
        if end < q.event_shape[0]:
            given.append(_bits_given(base, own))
        start = end
    return negative_entropy.sum(-1) - energy + machine.log_partition


def _bits_given(base: Any, value: Tensor) -> Tensor:
    """Probabilities of the bits of a group given its smoothed bits."""
    if isinstance(base, SpikeExponential):
        return base.bits(value)
    if isinstance(base, OverlappingBernoulli):
        return base.posterior_logits(value).sigmoid()
    raise NotImplementedError(f"no bits in {type(base).__name__}")


@register_kl(Hierarchical, SpikeBoltzmann)
def _kl_hierarchical_spike_boltzmann(q: Hierarchical, p: SpikeBoltzmann) -> Tensor:
    return bits_divergence(q, p)
