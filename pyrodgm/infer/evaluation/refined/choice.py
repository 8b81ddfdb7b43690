"""Which sampler refines the proposals of a pair."""

from typing import Any

import torch
from torch import Tensor, nn

from pyrodgm.infer.evaluation.refined.bits import AnnealedBits
from pyrodgm.infer.evaluation.refined.coordinates import Coordinates
from pyrodgm.infer.evaluation.refined.sampler import RefinedSampler
from pyrodgm.infer.evaluation.refined.sites import UnsupportedError, require_fixed
from pyrodgm.infer.tracing.contexts import fork_rng

PROBES = 2  # points at which the joint density is evaluated twice
ANNEALING = 5000  # evaluations for binary latents, where no budget is given


def coordinates_of(pair: nn.Module, x: Tensor) -> Coordinates:
    """The latents of a pair as one real vector a datum, in which the joint density is a function.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``.
        x: Some data, ``[N, *event]``, evenly spread.

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
    """A fit to each datum for continuous latents; annealing for binary ones.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``.
        x: Some data, ``[N, *event]``, evenly spread, that say how to centre latents.
        count: Data in all.
        budget: Evaluations of the likelihood's network a datum; None for the usual number.
        max_bytes: Bound on the memory.
        mode: How the programs run.
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
