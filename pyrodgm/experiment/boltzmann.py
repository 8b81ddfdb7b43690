"""Pictures of what a Boltzmann prior has learned."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrodgm import boltzmann, plots
from pyrodgm.datasets import Dataset
from pyrodgm.infer.tracing.contexts import evaluating
from pyrodgm.models import DVAE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHAINS, SWEEPS, LOOKS = 10, 100, 12


def prior_samples(pair: DVAE) -> tuple[Tensor, Tensor]:
    """Means of the data at draws of the machine's bits, by Gibbs sampling and by annealing.

    Returns:
        Ten chains from fair coins, seen every hundred sweeps, ``[10, 12, D]``; a hundred members of a population that
        was annealed, ``[100, D]``.
    """
    with evaluating(pair):
        prior: Any = pair.prior
        machine = prior.weights, prior.left_bias, prior.right_bias
        left, right = boltzmann.random_states(prior.weights, CHAINS)
        looks = []
        for _ in range(LOOKS):
            looks.append(torch.cat([left, right], -1))
            left, right = boltzmann.gibbs_sweeps(*machine, left, SWEEPS)
        return pair.likelihood(torch.stack(looks, 1)).mean, pair.likelihood(prior.sample_annealed(100)).mean


def prior_figures(pair: DVAE, data: Dataset) -> "dict[str, Figure]":
    """Figures of :func:`prior_samples`, by name: ``gibbs_samples`` and ``annealed_samples``."""
    gibbs, annealed = prior_samples(pair)
    shape: Any = data.image_shape
    return {
        "gibbs_samples": plots.image_grid(
            gibbs.flatten(0, 1),
            shape,
            columns=LOOKS,
            title=f"{data.name}: a Gibbs chain a row, from fair coins, every {SWEEPS} sweeps (means)",
        ),
        "annealed_samples": plots.image_grid(annealed, shape, title=f"{data.name}: an annealed population (means)"),
    }
