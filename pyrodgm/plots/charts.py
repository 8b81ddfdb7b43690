"""Charts of likelihoods and of training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_range, one_of, tensors, whole_number
from pyrodgm.plots.style import BLUE, GREY, VERMILION, charts, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


RULES = ("auto", "fd", "doane", "scott", "stone", "rice", "sturges", "sqrt")  # of NumPy, for the number of bins


def log_likelihood_histogram(
    values: Tensor, *, bins: int | str = "auto", dimensions: int | None = None, title: str | None = None
) -> "Figure":
    """Histogram of the log-likelihoods of single data, with their mean.

    Args:
        values: Log-likelihoods ``[N]`` in nats, finite.
        bins: Number of bins, or the name of a rule of :func:`numpy.histogram_bin_edges`.
        dimensions: Number of grey values of a datum, D: the figure then shows -log2 p(x) / D, bits per dimension.
        title: Text above.

    Raises:
        ValueError: If ``values`` is empty, not finite or of another shape, or ``dimensions`` is below 1.
    """
    tensors(values=values)
    dimensions = None if dimensions is None else whole_number("dimensions", dimensions)
    if isinstance(bins, str):
        one_of("bins", bins, RULES)
    else:
        bins = whole_number("bins", bins)
    numbers = values.detach().cpu().double().numpy()
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise ValueError(f"values: expected finite log-likelihoods [N], N > 0; got {values}")
    label = "log p(x) (nats)"
    if dimensions is not None:
        numbers, label = -numbers / (dimensions * np.log(2)), "−log₂ p(x) / D (bits per dimension)"
    figure, (axes,) = charts(title, [1.0])
    axes.hist(numbers, bins=bins, color=BLUE, edgecolor="white", linewidth=0.4)
    axes.axvline(numbers.mean(), color=VERMILION, linewidth=1.8, label=f"mean {number(numbers.mean())}")
    axes.set_xlabel(label)
    axes.set_ylabel(f"images of {len(numbers):,}")
    axes.legend(frameon=False)
    return figure


def likelihood_diagnostics(
    values: Tensor,
    k_hat: Tensor,
    ess: Tensor,
    *,
    limits: tuple[float, float] = (0.7, 30.0),
    title: str | None = None,
) -> "Figure":
    """Histograms of estimated log-likelihoods, of the Pareto k-hat of their weights and of their effective sizes.

    Args:
        values: Log-likelihoods ``[N]`` in nats, finite.
        k_hat: Pareto shapes ``[N]``; those outside [-0.5, 1.5], infinite ones too, are counted in the outermost bars.
        ess: Effective sample sizes ``[N]``, at least 1.
        limits: Largest k-hat and smallest effective size of weights that are trusted, drawn as lines.
        title: Text above.

    Raises:
        ValueError: If the shapes differ, there are no values, or some are not numbers.
    """
    tensors(values=values, k_hat=k_hat, ess=ess)
    finite_range("limits", limits)
    numbers, shapes, sizes = (v.detach().cpu().double().numpy() for v in (values, k_hat, ess))
    fine = numbers.ndim == 1 and len(numbers) and numbers.shape == shapes.shape == sizes.shape
    if (
        not fine
        or not np.isfinite(numbers).all()
        or np.isnan(shapes).any()
        or not (np.isfinite(sizes) & (sizes > 0)).all()
    ):
        raise ValueError(
            f"values, k_hat and ess: expected numbers [N], N > 0, of one length; got {list(values.shape)}, "
            f"{list(k_hat.shape)} and {list(ess.shape)}"
        )
    figure, (upper, middle, lower) = charts(title, [1.3, 1.0, 1.0])
    figure.set_size_inches(6.4, 5.6)
    upper.hist(numbers, bins="auto", color=BLUE, edgecolor="white", linewidth=0.4)
    upper.axvline(numbers.mean(), color=VERMILION, linewidth=1.8, label=f"mean {number(numbers.mean())}")
    middle.hist(np.clip(shapes, -0.5, 1.5), bins=40, range=(-0.5, 1.5), color=BLUE)
    over = f"limit {limits[0]:g}; {100 * (shapes > limits[0]).mean():.1f} % above"
    middle.axvline(limits[0], color=VERMILION, linewidth=1.8, label=over)
    edges = np.geomspace(1.0, max(sizes.max(), 2 * limits[1]), 41)
    lower.hist(np.clip(sizes, 1.0, None), bins=edges, color=BLUE)
    under = f"limit {limits[1]:g}; {100 * (sizes < limits[1]).mean():.1f} % below"
    lower.axvline(limits[1], color=VERMILION, linewidth=1.8, label=under)
    lower.set_xscale("log")
    for axes, label in (
        (upper, "log p(x) (nats)"),
        (middle, "Pareto k-hat"),
        (lower, "effective sample size"),
    ):
        axes.set_xlabel(label)
        axes.set_ylabel(f"data of {len(numbers):,}")
        axes.legend(frameon=False)
    figure.align_ylabels()
    return figure


def training_curves(metrics: Sequence[Mapping[str, float]], *, title: str | None = None) -> "Figure":
    """Bounds on training and validation data by epoch, the best epoch, and the KL weight below.

    Args:
        metrics: A row per epoch with ``epoch``, ``train_bound``, ``valid_bound`` (nats per datum, NaN where there was
            no validation) and ``kl_weight``, as in :attr:`pyrodgm.infer.FitResult.metrics`.
        title: Text above.

    Raises:
        ValueError: If ``rows`` is empty or a row lacks one of these entries.
    """
    if not isinstance(metrics, Sequence) or isinstance(metrics, str):
        raise TypeError(f"metrics must be a sequence of rows, got {metrics!r}")
    keys = ("epoch", "train_bound", "valid_bound", "kl_weight")
    missing = [key for key in keys if any(key not in row for row in metrics)]
    if not metrics or missing:
        raise ValueError(f"metrics: expected rows with {', '.join(keys)}; got {len(metrics)} rows without {missing}")
    epoch, train, valid, kl_weight = (np.array([row[key] for row in metrics]) for key in keys)
    figure, (bounds, weights) = charts(title, [4.0, 1.0])
    marker = "." if len(epoch) < 30 else ""
    bounds.plot(epoch, train, color=BLUE, marker=marker, label="training, KL as weighted below")
    if np.isfinite(valid).any():
        known = np.isfinite(valid)  # a line has gaps at NaN
        bounds.plot(epoch[known], valid[known], color=VERMILION, linestyle="--", marker=marker, label="validation")
        best = int(np.nanargmax(valid))
        label = f"best: {number(valid[best])} at epoch {epoch[best]:g}"
        bounds.plot(epoch[best], valid[best], "o", color=VERMILION, markersize=7, markeredgecolor="white", label=label)
    bounds.set_ylim(*_useful_range(train, valid, kl_weight))
    bounds.set_ylabel("bound (nats per image)")
    bounds.legend(frameon=False, loc="lower right")
    bounds.tick_params(labelbottom=False)
    weights.plot(epoch, kl_weight, color=GREY, marker=marker)
    weights.set_ylim(-0.1, max(1.0, kl_weight.max()) * 1.1)
    weights.set_ylabel("KL weight")
    weights.set_xlabel("epoch")
    weights.sharex(bounds)
    weights.set_xlim(epoch[0] - 0.5 - 0.01 * len(epoch), epoch[-1] + 0.5 + 0.01 * len(epoch))
    weights.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    figure.align_ylabels()
    return figure


def _useful_range(train: np.ndarray, valid: np.ndarray, kl_weight: np.ndarray) -> tuple[float, float]:
    """Limits that show where the curves end up: not stretched by the first epochs nor by another KL weight."""
    start = max(len(train) // 10, int(np.argmax(kl_weight == kl_weight[-1])))
    if start > 0.9 * len(train):
        start = len(train) // 10
    later = np.concatenate([train[start:], valid[start:]])
    low, high = np.nanmin(later), np.nanmax(later)
    height = high - low or 1.0
    return float(low - 0.6 * height), float(high + 0.15 * height)
