"""How much the components of a mixture are used."""

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_tensor
from pyrodgm.plots.style import BLUE, VERMILION, charts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def component_usage(weights: Tensor, prior: Tensor | None = None, *, title: str | None = None) -> "Figure":
    """Mean weight of each component over the data, with the share of data of which it is the largest.

    Args:
        weights: Weights ``[N, K]`` of each datum, on the simplex.
        prior: Their prior means ``[K]``, drawn as a line.
        title: Text above.

    Raises:
        ValueError: If a shape does not fit or the weights are not on the simplex.
    """
    finite_tensor("weights", weights)
    if prior is not None:
        finite_tensor("prior", prior)
    values = weights.detach().cpu().double().numpy()
    if values.ndim != 2 or not len(values) or (values < 0).any() or not np.allclose(values.sum(-1), 1, atol=1e-4):
        raise ValueError(f"weights: expected [N, K] on the simplex, N > 0; got shape {list(weights.shape)}")
    count = values.shape[1]
    if prior is not None and prior.shape != (count,):
        raise ValueError(f"prior: expected [{count}], a mean for each component; got {list(prior.shape)}")
    figure, (axes,) = charts(title, [1.0])
    places = np.arange(1, count + 1)
    largest = np.bincount(values.argmax(-1), minlength=count) / len(values)
    axes.bar(places - 0.2, values.mean(0), width=0.4, color=BLUE, label="mean weight")
    axes.bar(places + 0.2, largest, width=0.4, color=VERMILION, label="share of images of which it is the largest")
    if prior is not None:
        axes.step(places, prior.detach().cpu().numpy(), where="mid", color="black", linewidth=1.0, label="prior mean")
    axes.set_xlabel("component")
    axes.set_ylabel(f"share ({len(values):,} images)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    return figure
