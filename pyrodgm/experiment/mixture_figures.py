"""Figures of mixtures: what their components look like, how much they are used; and of latents with two dimensions."""

from typing import TYPE_CHECKING, Any

import pyro.poutine as poutine
import torch
from torch import Tensor, nn

from pyrodgm import plots
from pyrodgm.datasets import Dataset
from pyrodgm.distributions import DiagNormalMixture
from pyrodgm.experiment.results import spread
from pyrodgm.infer import posterior_means, sample
from pyrodgm.infer.tracing.contexts import evaluating
from pyrodgm.priors import MixtureOfGaussians

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 100  # components of a prior
MANIFOLD = 20  # images along each side
ENCODED = 5000  # images in a scatter


def mixture_figures(pair: Any, data: Dataset) -> dict[str, "Figure"]:
    """Figures by name, those that the pair allows.

    ``component_means``: means of a mixture prior's components, decoded, by weight; ``component_usage``: of latent
    weights; ``component_samples``: samples from each component of a prior with latent weights, a row each;
    ``component_reconstructions``: images as each component of the posterior sees them; ``manifold`` and ``encodings``:
    the plane of latents with two dimensions.
    """
    figures: dict[str, Figure] = {}
    with evaluating(pair):
        if isinstance(getattr(pair, "prior", None), MixtureOfGaussians):
            figures["component_means"] = _component_means(pair, data)
        means = posterior_means(pair, data.test.images[spread(len(data.test), min(ENCODED, len(data.test)))])
        if {"pi", "z"} <= means.keys() and hasattr(pair, "component_posterior"):
            figures |= _latent_weights(pair, data, means["pi"])
        top = "z" if "z" in means else "z2"
        if top in means and means[top].shape[1:] == (2,):
            figures |= _plane(pair, data, top, means[top])
    return figures


def _component_means(pair: Any, data: Dataset) -> "Figure":
    prior = pair.prior()
    order = prior.probs.argsort(descending=True, stable=True)[:SHOWN]
    site = "z" if not hasattr(pair, "conditional_prior") else "z2"
    images = _decode(pair, data, site, prior.loc[order])
    title = f"{data.name}: decoded means of the {len(order)} components of largest weight, in its order"
    return plots.image_grid(images, data.image_shape, title=title)


def _latent_weights(pair: Any, data: Dataset, weights: Tensor) -> dict[str, "Figure"]:
    prior_mean, name, shape = pair.prior().mean_weights, data.name, data.image_shape
    figures = {"component_usage": plots.component_usage(weights, prior_mean, title=f"{name}: use of the components")}
    components = pair.component_prior(prior_mean)
    if isinstance(components, DiagNormalMixture):
        z = components.component_distribution.sample((12,)).transpose(0, 1)  # [K, 12, D]
        rows = pair.likelihood(z).mean.flatten(0, 1)
        title = f"{name}: samples from each component of the prior, a row each (means)"
        figures["component_samples"] = plots.image_grid(rows, shape, columns=12, title=title)
    x = data.test.images[spread(len(data.test), min(12, len(data.test)))].to(prior_mean.device, prior_mean.dtype)
    h = pair.encoder(x)
    pi = pair.weights_posterior(h).mean_weights
    seen = pair.likelihood(pair.component_posterior(h, pi).loc).mean  # [12, K, *event]
    rows = torch.cat([x.unsqueeze(1), seen], 1).transpose(0, 1).flatten(0, 1)
    title = f"{name}: test images (top) and the means of each component of their posteriors, decoded"
    figures["component_reconstructions"] = plots.image_grid(rows, shape, columns=len(x), title=title)
    return figures


def _plane(pair: Any, data: Dataset, site: str, means: Tensor) -> dict[str, "Figure"]:
    """The manifold between the quantiles of the prior along each axis, and where the test images lie."""
    draws = poutine.trace(poutine.uncondition(pair.model)).get_trace(_like(pair, data, 4000)).nodes[site]["value"]
    levels = (torch.arange(MANIFOLD, dtype=draws.dtype, device=draws.device) + 0.5) / MANIFOLD
    across, up = draws.quantile(levels, 0).unbind(-1)
    grid = torch.stack(torch.meshgrid(up.flip(0), across, indexing="ij")[::-1], -1).flatten(0, 1)
    title = f"{data.name}: the plane of latents at quantiles of the prior"
    figures = {
        "manifold": plots.image_grid(_decode(pair, data, site, grid), data.image_shape, columns=MANIFOLD, title=title)
    }
    if data.test.labels is not None:
        labels = data.test.labels[spread(len(data.test), len(means))]
        figures["encodings"] = plots.scatter_by_class(means, labels, title=f"{data.name}: means of the posteriors")
    return figures


def _decode(pair: nn.Module, data: Dataset, site: str, values: Tensor) -> Tensor:
    """Means of the data given some latents, the others drawn from the model."""
    return sample(pair, _like(pair, data, len(values)), {site: values})


def _like(pair: nn.Module, data: Dataset, count: int) -> Tensor:
    first = next(pair.parameters())
    return data.test.images[:1].to(first.device, first.dtype).expand(count, -1)
