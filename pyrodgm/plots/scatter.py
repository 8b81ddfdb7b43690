"""Points in the plane."""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pyrodgm.arithmetic.arguments import tensors
from pyrodgm.extras import needs_extra
from pyrodgm.plots.style import DPI, MARKERS, PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pyrodgm.plots.drawing import Drawing


def scatter_by_class(points: Tensor, labels: Tensor, *, title: str | None = None) -> "Figure":
    """Points in the plane, such as encodings with two latent dimensions, each class in a colour of its own.

    Up to ten classes have colours that the colour-blind can tell apart, and a shape each.

    Args:
        points: ``[N, 2]``, finite.
        labels: Classes ``[N]``.
        title: Text above.

    Raises:
        ValueError: If there are no points, a shape does not fit or a value is not finite.
    """
    tensors(points=points, labels=labels)
    where, classes = points.detach().cpu().double().numpy(), labels.cpu().numpy()
    if where.ndim != 2 or where.shape[1] != 2 or not len(where) or not np.isfinite(where).all():
        raise ValueError(f"points: expected finite ones [N, 2], N > 0; got shape {list(points.shape)}")
    if classes.shape != where.shape[:1]:
        raise ValueError(f"labels: expected [{len(where)}], as many as points; got {list(labels.shape)}")
    figure, axes = classes_in_the_plane(where, classes)
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def classes_in_the_plane(points: np.ndarray, classes: np.ndarray) -> tuple["Drawing", Any]:
    """Figure and axes with points ``[N, 2]``, each class in a colour and shape of its own, with their names if few."""
    with needs_extra("plots"):
        from matplotlib import colormaps

    from pyrodgm.plots.drawing import Drawing

    figure = Drawing(figsize=(6.4, 6.0), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    names = np.unique(classes)
    few = len(names) <= len(PALETTE)
    for i, name in enumerate(names):
        chosen = points[classes == name]
        colour = PALETTE[i] if few else colormaps["turbo"](i / (len(names) - 1))
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=9 if few else 5,
            color=colour,
            marker=MARKERS[i] if few else "o",
            label=str(name),
            linewidths=0,
        )
    if len(names) <= 20:
        axes.legend(frameon=False, markerscale=2.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure, axes
