"""Figures of priors whose components are made from images: these images, and samples grown from them."""

from typing import TYPE_CHECKING

from torch import Tensor

from pyrodgm import plots
from pyrodgm.datasets import evenly_spaced
from pyrodgm.figures.registry import Scene, draw
from pyrodgm.priors import ExemplarPrior, VampPrior

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROWN, EACH = 8, 12  # images from which samples are grown, and samples of each


@draw.register(VampPrior)
def draw_vamp_prior(prior: VampPrior, scene: Scene) -> "dict[str, Figure]":
    """``pseudo_inputs``, and ``grown_samples`` of some of them."""
    return _draw_seeds(prior, scene, prior.pseudo_inputs.detach(), "pseudo-inputs")


@draw.register(ExemplarPrior)
def draw_exemplar_prior(prior: ExemplarPrior, scene: Scene) -> "dict[str, Figure]":
    """``exemplars``, and ``grown_samples`` of some of them."""
    return _draw_seeds(prior, scene, prior.exemplars, "exemplars")


def _draw_seeds(prior: VampPrior | ExemplarPrior, scene: Scene, images: Tensor, name: str) -> "dict[str, Figure]":
    shown, chosen = (images[evenly_spaced(len(images), min(count, len(images)))] for count in (100, GROWN))
    z = prior.component(chosen.repeat_interleave(EACH, 0)).sample()
    grown = scene.decode(scene.first_site, z).unflatten(0, (len(chosen), EACH))
    shape, title = scene.data.image_shape, f"{scene.data.name}: {name}"
    return {
        name.replace("-", "_"): plots.image_grid(shown, shape, title=title),
        "grown_samples": plots.grown_samples(
            chosen, grown, shape, title=f"{title} (left) and samples grown from each{scene.kind}"
        ),
    }
