"""Chart of how much each latent dimension says about the data."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_number
from pyrodgm.plots.style import BLUE, GREY, VERMILION, charts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito's
FLOOR = 1e-8  # variances below are drawn here


def unit_activities(variances: Mapping[str, Tensor], *, threshold: float = 1e-2, title: str | None = None) -> "Figure":
    """Variances over the data of the posterior means of each latent dimension, largest first, a line for each site.

    Args:
        variances: ``[D]`` for each latent site, as :func:`pyrodgm.infer.unit_variances` gives them.
        threshold: Smallest variance of an active unit, drawn as a line.
        title: Text above.

    Raises:
        ValueError: If there is no site, or variances are negative, not finite or of another shape.
    """
    if not isinstance(variances, Mapping):
        raise TypeError(f"variances must be tensors by the names of sites, got {variances!r}")
    threshold = finite_number("threshold", threshold, least=0.0)
    values = {site: v.detach().cpu().double().numpy() for site, v in variances.items()}
    if not values or any(v.ndim != 1 or not len(v) or not (np.isfinite(v) & (v >= 0)).all() for v in values.values()):
        raise ValueError(f"variances: expected finite values [D] of at least 0 for each site; got {variances}")
    figure, (axes,) = charts(title, [1.0])
    for i, (site, v) in enumerate(values.items()):
        label = f"{site}: {(v > threshold).sum()} of {len(v)} active"
        axes.plot(
            np.arange(1, len(v) + 1),
            np.maximum(np.sort(v)[::-1], FLOOR),
            color=COLOURS[i % len(COLOURS)],
            marker=".",
            linestyle="--" if i % 2 else "-",
            label=label,
        )
    axes.axhline(threshold, color=GREY, linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xlabel("latent dimension, largest variance first")
    axes.set_ylabel("variance of the posterior mean")
    axes.legend(frameon=False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure
