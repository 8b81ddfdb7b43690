"""Exact evidence of random mixture pairs, and their bounds at given noise, by formulas of their own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrodgm.testing.exact import normal
from pyrodgm.testing.mixture_pair import SEEN, MixturePair


@dataclass(frozen=True)
class MixtureNoise:
    """Noise of P particles, the same for all data.

    Attributes:
        sticks: Exponential numbers, ``[P, K - 1]``.
        z: Standard normal numbers, ``[P, D]``, of every component.
        v: Likewise, ``[P]``.
    """

    sticks: Tensor
    z: Tensor
    v: Tensor


@dataclass(frozen=True)
class MixtureTerms:
    """Log-probabilities of each component's draw, ``[P, B, K]``, but those of the sticks.

    Attributes:
        weights: Weights as drawn.
        expected: Their expectations, ``[B, K]``.
        observed: log p(x | z, v).
        q_z: log q(z); the mixture's.
        p_z: log p(z).
        own: log q_k(z_k), of each component's own density.
        cross: -E log p(z) under each component, for priors that are one Normal, or by components, ``[B, K]``.
        q_v: log q(v | z).
        p_v: log p(v | z).
        kl_v: The divergence of these two.
        p_sticks: log p(sticks), ``[P, B]``.
        q_sticks: log q(sticks), ``[P, B]``.
        kl_sticks: Their divergence, ``[B]``.
        factor: Mask and scale of ``z``, ``[B, 1]``.
    """

    weights: Tensor
    expected: Tensor
    observed: Tensor
    q_z: Tensor
    p_z: Tensor
    own: Tensor
    cross: Tensor
    q_v: Tensor
    p_v: Tensor
    kl_v: Tensor
    p_sticks: Tensor
    q_sticks: Tensor
    kl_sticks: Tensor
    factor: Tensor


def mixture_terms(pair: MixturePair, x: Tensor, noise: MixtureNoise) -> MixtureTerms:
    """All terms at given noise."""
    f, w = pair.features, pair.weights
    zero = torch.zeros(len(noise.z), len(x), dtype=x.dtype)
    weights = w["q_logits"].softmax(-1).expand(len(noise.z), len(x), -1)
    expected, prior_weights = weights[0], w["p_logits"].softmax(-1).expand_as(weights)
    p_sticks = q_sticks = zero
    kl_sticks = zero[0]
    if f.sticks:
        a, b = w["q_a"] * (w["q_a_of_x"] * x[:, :1]).exp(), w["q_b"]
        log_v, log_rest = _log_fractions(a, b, noise.sticks.unsqueeze(1))
        weights = prior_weights = _weights(log_v.exp())
        mean = b * torch.exp(torch.lgamma(1.0 + 1.0 / a) + torch.lgamma(b) - torch.lgamma(1.0 + 1.0 / a + b))
        expected = _weights(mean.expand(-1, f.components - 1))
        log_p, log_q = _log_sticks(w["concentration"], a, b, log_v, log_rest, noise.sticks.unsqueeze(1))
        p_sticks, q_sticks = log_p.sum(-1), log_q.sum(-1)
        t = torch.linspace(-40.0, 4.5, 3001, dtype=x.dtype)  # log of an exponential number, by the trapezoidal rule
        e = t.exp()[:, None, None]
        log_p, log_q = _log_sticks(w["concentration"], a, b, *_log_fractions(a, b, e), e)
        share = (t[1] - t[0]) * (t - t.exp()).exp()
        kl_sticks = (f.components - 1) * torch.einsum("t,tb->b", share, (log_q - log_p).squeeze(-1))
    loc = w["q_loc"] + (w["q_of_x"] * x[:, :1]).unsqueeze(-1)  # [B, K, D]
    z = loc + w["q_scale"] * noise.z[:, None, None]  # [P, B, K, D]
    each = normal(z.unsqueeze(-2), loc.unsqueeze(-3), w["q_scale"]).sum(-1)  # [P, B, K, components]
    q_z = (each + weights.log().unsqueeze(-2)).logsumexp(-1)
    if f.mixture_prior:
        of_prior = normal(z.unsqueeze(-2), w["p_loc"], w["p_scale"]).sum(-1)
        p_z = (of_prior + prior_weights.log().unsqueeze(-2)).logsumexp(-1)
        p_loc, p_scale = w["p_loc"], w["p_scale"]
    else:
        p_loc, p_scale = torch.zeros_like(w["p_loc"][0]), w["p_scale"][0]
        p_z = normal(z, p_loc, p_scale).sum(-1)
    cross = -normal(loc, p_loc, p_scale).sum(-1) + 0.5 * (w["q_scale"] / p_scale).square().sum(-1)
    mean = z @ w["x_of_z"].mT
    q_v = p_v = kl_v = torch.zeros_like(q_z)
    if f.second:
        ours, theirs = w["q_v"] + w["q_v_of_z"] * z.sum(-1), w["v_of_z"] * z.sum(-1)
        v = ours + w["q_v_scale"] * noise.v[:, None, None]
        q_v, p_v = normal(v, ours, w["q_v_scale"]), normal(v, theirs, w["v_scale"])
        ratio = w["q_v_scale"] / w["v_scale"]
        kl_v = 0.5 * (ratio.square() + ((ours - theirs) / w["v_scale"]).square() - 1.0) - ratio.log()
        mean = mean + w["x_of_v"] * v.unsqueeze(-1)
    factor = torch.ones_like(x[:, :1]) * (0.5 if f.scale else 1.0)
    factor = factor * (x[:, :1] < 0.5) if f.mask else factor
    observed = normal(x.unsqueeze(-2), mean, w["x_scale"]).sum(-1)
    own = torch.diagonal(each, dim1=-2, dim2=-1)
    return MixtureTerms(
        weights, expected, observed, q_z, p_z, own, cross, q_v, p_v, kl_v, p_sticks, q_sticks, kl_sticks, factor
    )


def stratified_bound(t: MixtureTerms, kl_weight: float) -> Tensor:
    """The bound of each particle, ``[P]``: weights as drawn."""
    divergence = (t.weights * (t.factor * (t.q_z - t.p_z) + t.kl_v)).sum(-1) + t.kl_sticks
    return ((t.weights * t.observed).sum(-1) - kl_weight * divergence).sum(-1)


def density_bound(t: MixtureTerms, kl_weight: float, own: bool, mixture_prior: bool) -> Tensor:
    """Likewise with expected weights wherever they enter linearly."""
    drawn = (t.weights * t.factor * t.q_z).sum(-1)
    if own:  # each draw under its own component
        drawn = t.factor[:, 0] * (t.own + t.weights.log()).logsumexp(-1)
    prior = (t.expected * t.factor * t.cross).sum(-1)
    if mixture_prior and not own:
        prior = -(t.weights * t.factor * t.p_z).sum(-1)
    divergence = drawn + prior + (t.expected * t.kl_v).sum(-1) + t.kl_sticks
    return ((t.expected * t.observed).sum(-1) - kl_weight * divergence).sum(-1)


def stratified_iw_bound(t: MixtureTerms, kl_weight: float) -> Tensor:
    """The importance-weighted bound of all particles, ``[]``; for pairs without a scale."""
    prior = t.factor * t.p_z + t.p_v + t.p_sticks.unsqueeze(-1)
    posterior = t.factor * t.q_z + t.q_v + t.q_sticks.unsqueeze(-1)
    log_w = t.observed + kl_weight * (prior - posterior) + t.weights.log()
    return (log_w.logsumexp((0, -1)) - torch.tensor(float(len(log_w))).log()).sum()


def mixture_evidence(pair: MixturePair, x: Tensor) -> Tensor:
    """Log p(x) of each datum, ``[B]``; without mask and scale."""
    f, w = pair.features, pair.weights
    by_z = w["x_of_z"] + (w["x_of_v"] * w["v_of_z"] if f.second else 0.0)
    noise = w["x_scale"].square() * torch.eye(SEEN, dtype=x.dtype)
    if f.second:
        noise = noise + (w["x_of_v"] * w["v_scale"]).square() * torch.ones(SEEN, SEEN, dtype=x.dtype)
    loc, scale = w["p_loc"], w["p_scale"]
    log_weights = w["p_logits"].log_softmax(-1)
    if f.sticks:
        rest = 1.0 / (1.0 + w["concentration"])
        log_weights = _weights(rest.expand(f.components - 1)).log()
    if not f.mixture_prior:
        loc, scale, log_weights = torch.zeros_like(loc[:1]), scale[:1], torch.zeros_like(log_weights[:1])
    covariance = noise + by_z @ torch.diag_embed(scale.square()) @ by_z.mT
    of_each = torch.distributions.MultivariateNormal(loc @ by_z.mT, covariance)
    return (of_each.log_prob(x.unsqueeze(-2)) + log_weights).logsumexp(-1)


def _log_fractions(a: Tensor, b: Tensor, exponential: Tensor) -> tuple[Tensor, Tensor]:
    """Log v and log(1 - v), where (1 - v^a)^b = exp(-exponential)."""
    power = exponential / b
    large = power > 1.0  # each branch gets numbers that are safe for it
    far, near = torch.where(large, power, 1.0), torch.where(large, 1.0, power)
    log_v = torch.where(large, torch.log1p(-(-far).exp()), (-torch.expm1(-near)).log()) / a
    end = power > 30.0  # v is 1 to rounding, and 1 - v = exp(-power) / a
    return log_v, torch.where(end, -power - a.log(), (-torch.expm1(torch.where(end, -1.0, log_v))).log())


def _log_sticks(
    concentration: Tensor, a: Tensor, b: Tensor, log_v: Tensor, log_rest: Tensor, exponential: Tensor
) -> tuple[Tensor, Tensor]:
    """Log-densities of fractions: Beta(1, concentration) and Kumaraswamy(a, b)."""
    log_p = concentration.log() + (concentration - 1.0) * log_rest
    return log_p, a.log() + b.log() + (a - 1.0) * log_v - (b - 1.0) * exponential / b


def _weights(fractions: Tensor) -> Tensor:
    """Weights ``[*, K]`` of fractions ``[*, K - 1]``."""
    one = torch.ones_like(fractions[..., :1])
    return torch.cat([fractions, one], -1) * torch.cat([one, (1.0 - fractions).cumprod(-1)], -1)
