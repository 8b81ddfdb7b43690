"""All figures of a trained pair."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pyrodgm import plots
from pyrodgm.datasets import evenly_spaced
from pyrodgm.figures.registry import Scene, draw
from pyrodgm.infer import reconstruct, sample_means, unit_variances
from pyrodgm.infer.tracing.contexts import evaluating, fork_rng

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANIFOLD = 20  # images along each side


def draw_pair(trained: nn.Module, scene: Scene) -> "dict[str, Figure]":
    """Figures of a trained pair by name.

    Args:
        trained: The pair as it was trained.
        scene: The evaluated pair and its data.

    Returns:
        ``real``, ``reconstructions``, ``samples``, ``active_units``; ``tsne`` where there are labels; ``manifold`` and
        ``encodings`` of latents with two dimensions; and those that the parts of the pair ask for by
        :func:`pyrodgm.figures.draw`.
    """
    with fork_rng(next(trained.parameters()).device), evaluating(trained), evaluating(scene.pair):
        torch.manual_seed(scene.seed)
        figures = _images(scene) | _latents(scene)
        for part in trained.modules():
            figures |= draw(part, scene)
    return figures


def _images(scene: Scene) -> "dict[str, Figure]":
    shape, name = scene.data.image_shape, scene.data.name
    real, many = scene.test_images(100), scene.test_images(1000)
    few = real[evenly_spaced(len(real), min(50, len(real)))]
    units = unit_variances(scene.pair, many)
    return {
        "real": plots.image_grid(scene.shown(real), shape, title=f"{name}: test images"),
        "reconstructions": plots.reconstructions(
            scene.shown(few),
            scene.shown(reconstruct(scene.pair, few)),
            shape,
            title=f"{name}: test images, each with its reconstruction",
        ),
        "samples": plots.image_grid(
            scene.shown(sample_means(scene.pair, real)), shape, title=f"{name}: samples from the model{scene.kind}"
        ),
        "active_units": plots.unit_activities(
            units, title=f"{name}: activity of latent dimensions on {len(many)} test images"
        ),
    }


def _latents(scene: Scene) -> "dict[str, Figure]":
    figures: dict[str, Figure] = {}
    if scene.top is None:
        return figures
    means, name = scene.means[scene.top], scene.data.name
    if scene.labels is not None:
        figures["tsne"] = plots.tsne(
            means.cpu(), scene.labels.cpu(), seed=scene.seed, title=f"{name}: t-SNE of mean latents"
        )
    if means.shape[1:] == (2,) == scene.prior_draws(scene.top, 1).shape[1:]:  # two stick weights have one logit
        figures["manifold"] = plots.image_grid(
            scene.decode(scene.top, _quantile_grid(scene, scene.top)),
            scene.data.image_shape,
            columns=MANIFOLD,
            title=f"{name}: the plane of latents at quantiles of the prior",
        )
        if scene.labels is not None:
            title = f"{name}: means of the posteriors"
            figures["encodings"] = plots.scatter_by_class(means, scene.labels, title=title)
    return figures


def _quantile_grid(scene: Scene, site: str) -> Tensor:
    """Latents between the quantiles of the prior, ``[400, 2]``; the first grows to the right, the second upwards."""
    draws = scene.prior_draws(site, 4000)
    levels = (torch.arange(MANIFOLD, dtype=draws.dtype, device=draws.device) + 0.5) / MANIFOLD
    across, up = draws.quantile(levels, 0).unbind(-1)
    return torch.stack(torch.meshgrid(up.flip(0), across, indexing="ij")[::-1], -1).flatten(0, 1)
