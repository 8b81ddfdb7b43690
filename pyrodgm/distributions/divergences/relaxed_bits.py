"""The divergence of the bits behind smoothed variables, from a posterior over groups to a Boltzmann machine."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, register_kl
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic.arguments import validated
from pyrodgm.boltzmann import BipartiteMachine, Bits, Machine
from pyrodgm.distributions.boltzmann_machine import BoltzmannMachine
from pyrodgm.distributions.divergences.given import register_given
from pyrodgm.distributions.hierarchical import Hierarchical
from pyrodgm.distributions.overlapping_bernoulli import OverlappingBernoulli
from pyrodgm.distributions.parameters import require_distributions
from pyrodgm.distributions.relaxed_boltzmann import RelaxedBoltzmann
from pyrodgm.distributions.spike_boltzmann import SpikeBoltzmann
from pyrodgm.distributions.spike_exponential import SpikeExponential


def bits_divergence(q: Hierarchical, p: Any, value: Tensor) -> Tensor:
    r"""Divergence of bits and smoothed bits together, where only the smoothed bits are seen.

    .. math:: \mathrm{KL}\bigl(q(z, \zeta) \,\|\, p(z)\, r(\zeta \mid z)\bigr)
        = \mathbb E_{q(\zeta)} \sum_i \bigl[-H(q(z_i \mid \zeta_{<i}))\bigr] - \mathbb E_{q(z)}[\log p(z)]

    Entropies are exact given the earlier groups, and so is the cross-entropy: a pair of bits of one group has the
    product of its probabilities; of two groups, that of the earlier bit given its own zeta too,
    :math:`\sigma(\text{logits} + \log r(\zeta \mid 1) - \log r(\zeta \mid 0))`, times that of the later. With one group
    ``value`` does not matter. With more it is an unbiased estimate, with unbiased gradients; those of
    :class:`SpikeExponential` are Rolfe's.

    It is never less than :math:`\mathrm{KL}(q(\zeta) \,\|\, p(\zeta))`, so that a bound with it in place of that one
    remains a bound. For :class:`SpikeExponential` the two are equal, and the registry has it.

    Args:
        q: groups of :class:`OverlappingBernoulli`, or :class:`SpikeExponential`.
        p: a :class:`RelaxedBoltzmann`, or :class:`SpikeBoltzmann`, over as many bits, of one machine without batch
            dimensions and with the smoothing of ``q``: of its family, with equal numbers or the same tensors.
        value: A draw of ``q``, ``[*batch, *event]``.

    Returns:
        ``[*batch]``, in nats.

    Raises:
        NotImplementedError: ``q`` or ``p`` is something else, or their smoothings differ, as from
            ``torch.distributions.kl_divergence``.

    Source: Vahdat et al. (2018), DVAE++, arXiv 1802.04920, section 3; Rolfe (2017), arXiv 1609.02200, eq. 12.
    """
    require_distributions(q=q, p=p)
    validated(value=value)
    if not isinstance(q, Hierarchical) or not isinstance(p, (RelaxedBoltzmann, SpikeBoltzmann)):
        raise NotImplementedError(f"no bits in {type(q).__name__} and {type(p).__name__}")
    if q.event_shape != p.event_shape:
        raise ValueError(f"q and p must have as many bits, got {list(q.event_shape)} and {list(p.event_shape)}")
    if value.shape[-1:] != q.event_shape:
        raise ValueError(f"value must have shape [*, {q.event_shape[0]}], got {list(value.shape)}")
    if not isinstance(p.machine, BoltzmannMachine):
        raise NotImplementedError("no divergence of the bits to machines with hidden units")
    if not isinstance(p.machine.units, Bits):
        raise NotImplementedError(f"no divergence of the bits to machines of {p.machine.units!r}")
    groups = q.groups(value)
    bases = [getattr(group, "base_dist", group) for group in groups]
    family = SpikeExponential if isinstance(p, SpikeBoltzmann) else OverlappingBernoulli
    for base in bases:
        if not isinstance(base, family) or not base.smoothing.equals(p.smoothing):
            own = f"{type(base).__name__}, {getattr(base, 'smoothing', None)}"
            raise NotImplementedError(f"no divergence of the bits from {own} to {type(p).__name__}, {p.smoothing}")
    values = value.split(q.sizes, -1)
    logits = torch.cat([base.logits for base in bases], -1)
    probs = logits.sigmoid()
    negative_entropy = probs * logsigmoid(logits) + (-logits).sigmoid() * logsigmoid(-logits)
    energy = _expected_energy(p.machine, probs, bases, values)
    return negative_entropy.sum(-1) - energy + p.machine.log_partition


def _expected_energy(machine: BoltzmannMachine, probs: Tensor, bases: list[Any], values: tuple[Tensor, ...]) -> Tensor:
    """Expectation of minus the energy, a pair of bits of two groups with the earlier one given its smoothed bit."""
    if machine.energy.batch_shape:
        raise NotImplementedError(f"no divergence of the bits to machines of batch shape {list(machine.batch_shape)}")
    if not isinstance(machine.energy, BipartiteMachine):
        return _expected_energy_on_graph(machine.energy, probs, bases, values)
    # A left unit is never in a later group than a right one: the left side comes first.
    weights, left_bias, right_bias = machine.energy.parameters
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
        if end < machine.event_shape[0]:
            given.append(_bits_given(base, own))
        start = end
    return energy


def _expected_energy_on_graph(machine: Machine, probs: Tensor, bases: list[Any], values: tuple[Tensor, ...]) -> Tensor:
    # Field of each group: from its own bits, each pair of which is met twice, and from the earlier groups' bits.
    energy = (probs * machine.biases).sum(-1)
    couplings = machine.coupling_matrix()
    start = 0
    given: list[Tensor] = []
    for base, own in zip(bases, values, strict=True):
        end = start + own.shape[-1]
        here = probs[..., start:end]
        field = 0.5 * here @ couplings[start:end, start:end]
        if given:
            field = field + torch.cat(given, -1) @ couplings[:start, start:end]
        energy = energy + (field * here).sum(-1)
        if end < probs.shape[-1]:
            given.append(_bits_given(base, own))
        start = end
    return energy


def _bits_given(base: Any, value: Tensor) -> Tensor:
    """Probabilities of the bits of a group given its smoothed bits."""
    return base.bits(value) if isinstance(base, SpikeExponential) else base.posterior_logits(value).sigmoid()


register_given(Hierarchical, SpikeBoltzmann)(bits_divergence)


@register_kl(Hierarchical, SpikeBoltzmann)
def _kl_hierarchical_spike_boltzmann(q: Hierarchical, p: SpikeBoltzmann) -> Tensor:
    return bits_divergence(q, p, q.rsample())


@register_kl(Independent, SpikeBoltzmann)
def _kl_independent_spike_boltzmann(q: Any, p: SpikeBoltzmann) -> Tensor:
    # One group: nothing depends on a draw.
    nothing = torch.zeros(q.batch_shape + q.event_shape, device=p.machine.parameters[0].device)
    return bits_divergence(Hierarchical(lambda earlier: q, q.event_shape), p, nothing)
