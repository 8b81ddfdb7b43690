"""Points in the plane."""

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyrodgm.plots.style import DPI

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def scatter_by_class(points: Tensor, labels: Tensor, *, title: str | None = None) -> "Figure":
    """Points in the plane, such as encodings with two latent dimensions, each class in a colour of its own.

    Args:
        points: ``[N, 2]``, finite.
        labels: Classes ``[N]``.
        title: Text above.

    Raises:
        ValueError: If there are no points, a shape does not fit or a value is not finite.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    where, classes = points.detach().cpu().double().numpy(), labels.cpu().numpy()
    if where.ndim != 2 or where.shape[1] != 2 or not len(where) or not np.isfinite(where).all():
        raise ValueError(f"points: expected finite ones [N, 2], N > 0; got shape {list(points.shape)}")
    if classes.shape != where.shape[:1]:
        raise ValueError(f"labels: expected [{len(where)}], as many as points; got {list(labels.shape)}")
    figure = Figure(figsize=(6.4, 6.0), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    names = np.unique(classes)
    colours = colormaps["tab10" if len(names) <= 10 else "turbo"]
    for i, name in enumerate(names):
        chosen = where[classes == name]
        colour = colours(i if len(names) <= 10 else i / (len(names) - 1))
        axes.scatter(chosen[:, 0], chosen[:, 1], s=5, color=colour, label=str(name), linewidths=0)
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[["top", "right"]].set_visible(False)
    if len(names) <= 20:
        axes.legend(frameon=False, markerscale=3, loc="center left", bbox_to_anchor=(1.0, 0.5))
    if title:
        figure.suptitle(title, fontsize=11)
    return figure
