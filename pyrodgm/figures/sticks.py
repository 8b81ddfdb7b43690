"""Figures of stick-breaking latents: how many sticks are used, and what the first of them draw."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from pyrodgm import plots
from pyrodgm.distributions import first_sticks, sticks_to_mass
from pyrodgm.figures.registry import Scene, draw
from pyrodgm.infer import posterior_samples, sample_means
from pyrodgm.nn import StickWeights
from pyrodgm.priors import GEMPrior

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST = (2, 3, 6, 7, 8, 9, 50)  # numbers of sticks whose samples are shown
MASS = 0.99


@draw.register(GEMPrior)
def draw_gem_prior(prior: GEMPrior, scene: Scene) -> "dict[str, Figure]":
    """Figures of sticks that are the top latent: ``first_sticks``, ``sticks_used`` and ``sparsity``.

    ``first_sticks`` shows means of samples in rows, each row the same draws with only the first d sticks left (the
    others set to zero and the rest not scaled up). ``sticks_used`` counts the sticks that hold 99 % of a sample of the
    posterior. ``sparsity`` shows means and weights of the decoder, where its first layer reads the sticks.
    """
    top = scene.top
    if top is None or type(scene.prior_trace.nodes[top]["fn"]) is not type(prior()):
        return {}  # the sticks weigh something else
    name, size = scene.data.name, prior.truncation
    counts = [d for d in FIRST if d < size] + [size]
    rows = []
    for count in counts:
        torch.manual_seed(scene.seed)
        with _only_first(scene.pair, count):
            rows.append(scene.shown(sample_means(scene.pair, scene.like(12))))
    used = sticks_to_mass(posterior_samples(scene.pair, scene.x)[top], MASS)
    figures = {
        "first_sticks": plots.image_grid(
            torch.cat(rows),
            scene.data.image_shape,
            columns=12,
            title=f"{name}: samples with their first sticks alone, as many as at the left",
            row_labels=[str(count) for count in counts],
        ),
        "sticks_used": plots.sticks_used(used, size, title=f"{name}: sticks that hold 99 % of a sample"),
    }
    reader = next((module for module in scene.pair.likelihood.modules() if isinstance(module, nn.Linear)), None)
    if reader is not None and reader.in_features == size:
        figures["sparsity"] = plots.latent_and_decoder_sparsity(
            scene.means[top], reader.weight, title=f"{name}: sparsity of latents and decoder"
        )
    return figures


@contextmanager
def _only_first(pair: nn.Module, count: int) -> Iterator[None]:
    """Let the networks of a pair see the first ``count`` sticks alone."""
    links = [module for module in pair.modules() if isinstance(module, StickWeights)]
    hooks = [link.register_forward_hook(lambda link, given, weights: first_sticks(weights, count)) for link in links]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
