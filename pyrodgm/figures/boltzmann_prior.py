"""Figures of a Boltzmann prior under a decoder."""

import logging
from typing import TYPE_CHECKING, Any

import torch

from pyrodgm import plots
from pyrodgm.figures.registry import Scene, draw
from pyrodgm.models import DVAE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

CHAINS, SWEEPS, LOOKS = 10, 100, 12


@draw.register(DVAE)
def draw_dvae(pair: DVAE, scene: Scene) -> "dict[str, Figure]":
    """``gibbs_samples``, a chain from fair coins per row, and ``annealed_samples``, members of an annealed population.

    Both show means of the data at draws of the bits of the machine. ``sampler`` shows the energies of the chains over
    calls of the sampler, with what :func:`pyrodgm.boltzmann.check_sampler` says of them; doubts are logged as warnings.
    """
    prior: Any = pair.prior
    machine = prior.machine()
    states = machine.random_states(CHAINS)
    looks = []
    for _ in range(LOOKS):
        looks.append(states[:, : prior.num_visible])
        states = machine.gibbs(states, SWEEPS)
    gibbs = pair.likelihood(torch.stack(looks, 1)).mean.flatten(0, 1)
    annealed = pair.likelihood(prior.sample_annealed(100)).mean
    shape, name = scene.data.image_shape, scene.data.name
    figures = {
        "gibbs_samples": plots.image_grid(
            gibbs, shape, columns=LOOKS, title=f"{name}: a Gibbs chain per row, every {SWEEPS} sweeps (means)"
        ),
        "annealed_samples": plots.image_grid(annealed, shape, title=f"{name}: an annealed population (means)"),
    }
    check = prior.check_sampler()
    if check is not None:
        for doubt in check.doubts:
            logger.warning("the negative phase cannot be trusted: %s", doubt)
        rates = check.diagnostics.get("exchange_rates")
        figures["sampler"] = plots.sampler_chains(check.negative_energy, rates, title=f"{name}: {check}")
    return figures
