"""Chooses the sampler of refined proposals: fitted for continuous latents, annealed for binary ones."""

from typing import Any

import torch
from torch import Tensor, nn

from pyrodgm.infer.evaluation.refined.bits import AnnealedBits
from pyrodgm.infer.evaluation.refined.coordinates import Coordinates
from pyrodgm.infer.evaluation.refined.sampler import RefinedSampler
from pyrodgm.infer.evaluation.refined.sites import UnsupportedError, require_fixed
from pyrodgm.infer.tracing.contexts import fork_rng

PROBES = 2  # points per datum at which the joint density must not differ between random states
ANNEALING = 5000  # evaluations per datum for binary latents where no budget is given


def coordinates_of(pair: nn.Module, x: Tensor) -> Coordinates:
    """The joint density of a pair as a deterministic function of one real vector per datum.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``.
        x: Some data, ``[N, *event]``, evenly spaced over all.

    Raises:
        UnsupportedError: If the pair does not allow it, with the reason.
    """
    with fork_rng(x.device):
        coordinates = Coordinates(pair, x[:1])
    u = torch.linspace(-1.0, 1.0, PROBES * len(x) * coordinates.size).reshape(PROBES, len(x), -1).to(x)
    require_fixed(lambda: coordinates.log_joint(x, u)[0], x.device)
    return coordinates


def refined_sampler(
    pair: nn.Module, x: Tensor, count: int, budget: int | None, max_bytes: int, mode: str, bits: bool = True
) -> Any:
    """The sampler for a pair: :class:`RefinedSampler` for continuous latents, :class:`AnnealedBits` for binary ones.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``.
        x: Some data, ``[N, *event]``, evenly spaced over all, from which the centring of latents is estimated.
        count: Number of data in all.
        budget: Evaluations of the likelihood's network per datum; None for the default number.
        max_bytes: Bound on the memory.
        mode: How the programs run, as in :func:`~pyrodgm.infer.evaluation.graphs.choose_mode`.
        bits: Whether binary latents may be annealed.

    Raises:
        UnsupportedError: If the pair or the budget does not allow it, with the reason.
    """
    try:
        coordinates = coordinates_of(pair, x)
        return RefinedSampler(coordinates, x, count, coordinates.plan(budget), max_bytes, mode)
    except UnsupportedError as of_real:
        try:
            if not bits:
                raise of_real
            return AnnealedBits(pair, x[:1], count, budget or ANNEALING, max_bytes, mode)
        except UnsupportedError as of_bits:
            raise (of_bits if "num_samples" in str(of_bits) else of_real) from None
