"""Gradients of IWELBO on a random pair, whose averages over draws are those of the bounds."""

from typing import Any

import torch
from torch import Tensor

from pyrodgm.infer import IWELBO
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.testing.exact import exact_elbo, exact_rule
from pyrodgm.testing.exact_iwelbo import gradient_of, weights_are_refused
from pyrodgm.testing.features import Features
from pyrodgm.testing.random_pair import RandomPair

GROUPS = 30
DRAWS = 200
PARTICLES = 3
ERRORS = 6.0  # of GROUPS groups: some thirty parameters are compared in each of many programs


def has_gradients(features: Features) -> bool:
    """Whether :func:`check_gradients` can say something of a pair: each datum is a row, and weights are served."""
    pair = RandomPair(features)
    shared = features.global_latent != "none" or features.label or features.auxiliary or features.fault != "none"
    return not shared and not weights_are_refused(pair, pair.batch(1))


def check_gradients(features: Features) -> None:
    """Check ``"stl"`` and ``"dreg"`` on average over independent draws, each for a copy of one datum.

    ``"stl"`` with one particle must give the gradient of the exact evidence lower bound, and ``"dreg"`` with several
    that of the importance-weighted bound, which the plain derivative of the same draws estimates too.

    Args:
        features: What the pair has; see :func:`has_gradients`.

    Raises:
        AssertionError: If an average is off by more than six standard errors; says which.
    """
    pair = RandomPair(features)
    batch = pair.batch(1)
    right = -gradient_of(exact_elbo(pair, batch, exact_rule(pair)), pair)
    many = tuple(part.expand(DRAWS) for part in batch)
    with fork_rng(torch.device("cpu")):
        one = torch.stack([_gradient(pair, many, i, 1, "stl") - right for i in range(GROUPS)])
        several = torch.stack(
            [
                _gradient(pair, many, i, PARTICLES, "dreg") - _gradient(pair, many, i, PARTICLES, "reparam")
                for i in range(GROUPS)
            ]
        )
    for what, differences in (("stl with one particle", one), ("dreg with several particles", several)):
        error = differences.std(0) / GROUPS**0.5 + 1e-9
        off = (differences.mean(0) / error).abs().max().item()
        assert off < ERRORS, f"the mean gradient of {what} is off by {off:.1f} standard errors"


def _gradient(pair: RandomPair, batch: tuple[Tensor, ...], seed: int, particles: int, gradient: Any) -> Tensor:
    """The mean over the data of a batch."""
    torch.manual_seed(seed)
    objective = IWELBO(particles, gradient=gradient, max_plate_nesting=2)
    loss = objective.differentiable_loss(pair.model, pair.guide, *batch)
    return gradient_of(loss, pair) / len(batch[0])
