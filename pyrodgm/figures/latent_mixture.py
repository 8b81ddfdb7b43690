"""Figures of mixtures whose weights are latent: use and look of their components."""

from typing import TYPE_CHECKING

import torch

from pyrodgm import plots
from pyrodgm.distributions import DiagNormalMixture
from pyrodgm.figures.registry import Scene, draw
from pyrodgm.models import DLGMM

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@draw.register(DLGMM)
def draw_dlgmm(pair: DLGMM, scene: Scene) -> "dict[str, Figure]":
    """Figures of the components of a latent mixture.

    ``component_usage``: mean weights, of posterior and prior; ``component_samples``: samples from each component of the
    prior, a row each; ``component_reconstructions``: test images, and the means of each component of their posteriors.
    """
    prior_mean, name, shape = pair.prior().mean_weights, scene.data.name, scene.data.image_shape
    usage = plots.component_usage(scene.means["pi"], prior_mean, title=f"{name}: use of the components")
    figures = {"component_usage": usage}
    components = pair.component_prior(prior_mean)
    if isinstance(components, DiagNormalMixture):
        z = components.component_distribution.sample((12,)).transpose(0, 1)  # [K, 12, D]
        rows = pair.likelihood(z).mean.flatten(0, 1)
        title, numbers = f"{name}: samples from each component of the prior (means)", _numbers(len(z))
        figures["component_samples"] = plots.image_grid(rows, shape, columns=12, title=title, row_labels=numbers)
    x = scene.test_images(12)
    h = pair.encoder(x)
    pi = pair.weights_posterior(h).mean_weights
    seen = pair.likelihood(pair.component_posterior(h, pi).loc).mean  # [12, K, *event]
    rows = torch.cat([x.unsqueeze(1), seen], 1).transpose(0, 1).flatten(0, 1)
    title, labels = f"{name}: means of each component of the posteriors, decoded", ["input", *_numbers(seen.shape[1])]
    figures["component_reconstructions"] = plots.image_grid(rows, shape, columns=len(x), title=title, row_labels=labels)
    return figures


def _numbers(count: int) -> list[str]:
    return [str(k) for k in range(1, count + 1)]
