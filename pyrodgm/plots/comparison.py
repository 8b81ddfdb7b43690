"""Chart of what several runs reach."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pyrodgm.plots.style import BLUE, charts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def log_likelihood_curve(
    x: Sequence[float],
    means: Sequence[float],
    standard_errors: Sequence[float],
    *,
    label: str,
    title: str | None = None,
) -> "Figure":
    """Mean test log-likelihood, with its standard error, against a number that differs between runs.

    Args:
        x: That number for each run, the number of pseudo-inputs, say, in any order; its axis is logarithmic if all are
            positive and the largest is more than ten times the smallest.
        means: Mean log-likelihood of each run in nats.
        standard_errors: Its standard error.
        label: What ``x`` is.
        title: Text above.

    Raises:
        ValueError: If there is no run, the lengths differ, or a value is not finite.
    """
    for name, given in (("x", x), ("means", means), ("standard_errors", standard_errors)):
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(f"{name} must be a sequence of numbers, got {given!r}")
    table = [np.asarray(values, dtype=float) for values in (x, means, standard_errors)]
    if len({v.shape for v in table}) > 1 or table[0].ndim != 1 or not len(table[0]) or not np.isfinite(table).all():
        raise ValueError(
            f"expected x, means and standard_errors of as many runs, finite, at least one; got {x}, {means} and "
            f"{standard_errors}"
        )
    places, means, errors = np.stack(table)[:, np.argsort(table[0])]
    figure, (axes,) = charts(title, [1.0])
    axes.errorbar(places, means, errors, color=BLUE, marker="o", capsize=3, linewidth=1.2, markersize=5)
    if places[0] > 0 and places[-1] > 10 * places[0]:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.set_xlabel(label)
    axes.set_ylabel("test log p(x) (nats)")
    return figure
