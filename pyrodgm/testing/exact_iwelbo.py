"""The exact importance-weighted bound of random pairs at given noise, and what it has to refuse."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from pyrodgm.testing.exact import Values, guide_values, log_weights, terms
from pyrodgm.testing.random_pair import RandomPair

DRAWN = ["z1", "z2", "tau", "u", "v", "y", "b", "a", "r", "s"]
IN_THE_DATA_PLATE = ["x", "x2_observed", "x2_unobserved", "x3", "xs", "c", "n", "w", *DRAWN]


def weights_are_refused(pair: RandomPair, batch: tuple[Tensor, ...]) -> list[str]:
    """The sites of which an importance-weighted bound must refuse one; none if it must serve the pair."""
    f = pair.features
    sites = []
    if f.inner_subsampled:
        sites += ["w", *(["v"] if f.inner_latent else [])]
    if f.global_latent != "none" and f.subsampled:
        sites += IN_THE_DATA_PLATE
    if f.scale != "none" or (f.mask in ("model", "own") and bool((batch[0] >= 0.5).any())):
        sites.append("z1")
    return sites


def exact_iwelbo(
    pair: RandomPair,
    batch: tuple[Tensor, ...],
    noise: dict[str, Tensor],
    alpha: float,
    weight: float,
    gradient: str,
    shares: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The loss of the importance-weighted bound at given noise, and its gradient as the papers write it.

    Args:
        pair: The programs.
        batch: Their arguments.
        noise: Noise of each site, ``[K]`` for all data or ``[K, B]``.
        alpha: Order of the bound.
        weight: The weight of the divergence.
        gradient: Kind of gradient, as in :class:`pyrodgm.infer.IWELBO`.
        shares: Weights of the data, ``[B]``; 1 by default.
    """
    drawn = guide_values(pair, batch[0], noise, 0.0)
    leaves: Values = {name: z.detach().requires_grad_() for name, z in drawn.items()}
    count, order = len(next(iter(noise.values()))), 1.0 - alpha
    scale = 1.0 if pair.features.global_latent != "none" else pair.full_size(len(batch[0])) / len(batch[0])

    def weights(given: Values, posterior: bool = True) -> Tensor:
        found = terms(pair, batch, noise, 0.0, 0.0, given)
        if not posterior:
            zero = torch.zeros_like
            found = replace(found, posterior=zero(found.posterior), global_posterior=zero(found.global_posterior))
        return log_weights(pair, found, len(batch[0]), weight)

    log_w = weights(drawn)
    shares = torch.ones(log_w.shape[-1]) if shares is None else shares
    bounds = (shares * ((order * log_w).logsumexp(0) - math.log(count))) / order
    loss = -scale * bounds.sum()
    if gradient == "reparam":
        return loss, gradient_of(loss, pair)
    normalised = (order * log_w).softmax(0).detach()
    plain = torch.zeros_like(bounds)
    if gradient == "dreg" and pair.features.mask == "both":  # such rows keep the score term
        plain = (batch[0] >= 0.5).to(plain) if len(plain) == len(batch[0]) else (batch[0] >= 0.5).any().to(plain)
    sized = (1.0 - plain) * shares * normalised
    slopes = torch.autograd.grad((sized * weights(leaves)).sum(), list(leaves.values()), allow_unused=True)
    factor = 1.0 - weight * order * (1.0 - normalised) if gradient == "dreg" else torch.ones_like(normalised)
    surrogate = (sized * weights({n: z.detach() for n, z in leaves.items()}, posterior=False)).sum()
    for (name, z), slope in zip(drawn.items(), slopes, strict=True):
        if slope is not None:
            own = factor.unsqueeze(-1) if name in ("v", "s") else factor
            surrogate = surrogate + ((own * slope).detach() * z).sum()
    return loss, gradient_of(-scale * (surrogate + (plain * bounds).sum()), pair)


def gradient_of(loss: Tensor, pair: RandomPair) -> Tensor:
    """The gradient of all trained parameters, which are scalars."""
    trained = [p for p in pair.parameters() if p.requires_grad]
    return torch.stack(torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True))
