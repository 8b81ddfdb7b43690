"""Figures of mixture priors: their components, decoded."""

from typing import TYPE_CHECKING

from pyrodgm import plots
from pyrodgm.figures.registry import Scene, draw
from pyrodgm.priors import MixtureOfGaussians

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 100  # components


@draw.register(MixtureOfGaussians)
def draw_mixture_of_gaussians(prior: MixtureOfGaussians, scene: Scene) -> "dict[str, Figure]":
    """``component_means``: decoded means of the components, by weight."""
    mixture = prior()
    order = mixture.probs.argsort(descending=True, stable=True)[:SHOWN]
    title = f"{scene.data.name}: decoded means of the {len(order)} components of largest weight, in its order"
    images = scene.decode(scene.first_site, mixture.loc[order])
    return {"component_means": plots.image_grid(images, scene.data.image_shape, title=title)}
