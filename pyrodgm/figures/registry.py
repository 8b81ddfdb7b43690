"""The registry of drawing functions, by the type of what they draw."""

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyro.poutine as poutine
from torch import Tensor

from pyrodgm.datasets import Dataset, evenly_spaced
from pyrodgm.infer import posterior_means, sample_means
from pyrodgm.infer.estimators.sites import Trace, samples
from pyrodgm.infer.evaluation.per_datum import data_first

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LATENT = re.compile(r"z[0-9]*")  # names of the latents, in pairs of one layer and of several
ENCODED = 2000  # test images whose latents are drawn


@dataclass(frozen=True)
class Scene:
    """A trained pair among its data, for functions that draw it; they run in evaluation mode.

    Attributes:
        pair: The pair that is evaluated.
        data: The data it was trained on.
        seed: Seed of samples that several figures share.
    """

    pair: Any
    data: Dataset
    seed: int = 0

    @functools.cached_property
    def x(self) -> Tensor:
        """Test images, evenly spread, at most 2,000."""
        return self.test_images(ENCODED)

    @functools.cached_property
    def labels(self) -> Tensor | None:
        """Labels of :attr:`x`, if there are any."""
        labels = self.data.test.labels
        return None if labels is None else labels[evenly_spaced(len(self.data.test), len(self.x))]

    @functools.cached_property
    def means(self) -> dict[str, Tensor]:
        """Means of the posterior of each latent site at :attr:`x`."""
        return posterior_means(self.pair, self.x)

    @functools.cached_property
    def prior_trace(self) -> Trace:
        """The model run on one image, with its latents drawn from the prior."""
        return poutine.trace(self.pair.model).get_trace(self.like(1))

    @property
    def first_site(self) -> str:
        """The latent that the model draws first."""
        return samples(self.prior_trace)[0]["name"]

    @property
    def top(self) -> str | None:
        """The top latent, ``z`` or the ``z1``, ``z2``, ... of the largest number, if the guide has one."""
        names = [name for name in self.means if LATENT.fullmatch(name)]
        return max(names, key=lambda name: int(name[1:] or 0), default=None)

    def test_images(self, most: int) -> Tensor:
        """At most that many test images, evenly spread, where the pair is."""
        first, test = next(self.pair.parameters()), self.data.test
        return test.images[evenly_spaced(len(test), min(most, len(test)))].to(first.device, first.dtype)

    def like(self, count: int) -> Tensor:
        """``count`` copies of one test image, for their shape."""
        return self.test_images(1).expand(count, *self.data.test.images.shape[1:])

    def prior_draws(self, site: str, count: int) -> Tensor:
        """Draws of a latent site from the model, ``[count, *plates, *event]``."""
        program = poutine.uncondition(self.pair.model)
        node = poutine.trace(program).get_trace(self.like(count)).nodes[site]
        return data_first(node, node["value"])

    def decode(self, site: str, values: Tensor) -> Tensor:
        """Means of the data given values of one latent site, the others drawn from the model, as pictures."""
        return self.shown(sample_means(self.pair, self.like(len(values)), {site: values}))

    def shown(self, images: Tensor) -> Tensor:
        """Images in [0, 1]: counts as shares of the largest one of the training data, all others unchanged."""
        if self.data.values != "counts":
            return images
        return (images / self.data.train.images.max().clamp(min=1.0).to(images)).clamp(0.0, 1.0)

    @functools.cached_property
    def kind(self) -> str:
        """What images of predictions show: means, or draws where the distribution of the data has no mean."""
        try:
            _ = self.prior_trace.nodes["x"]["fn"].mean
        except NotImplementedError:
            return ""
        return " (means)"


@functools.singledispatch
def draw(part: object, scene: Scene) -> "dict[str, Figure]":
    """Figures of a part of a pair by name: a prior, a likelihood, a posterior, the pair itself; none by default.

    A new one is registered for the type of the part::

        @draw.register(MyPrior)
        def draw_my_prior(part: MyPrior, scene: Scene) -> dict[str, Figure]:
            return {"my_prior": plots.image_grid(scene.decode("z", part.loc), scene.data.image_shape)}

    Args:
        part: A module of the pair.
        scene: The pair among its data.
    """
    return {}
