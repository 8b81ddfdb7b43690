"""Figures of computation that adapts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_tensor, whole_numbers
from pyrodgm.plots.style import BLUE, GREY, VERMILION, charts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def adaptive_steps(rows: Sequence[Mapping[str, float]], *, title: str | None = None) -> "Figure":
    """Inner steps by difficulty, and the share of errors below.

    Args:
        rows: A row a difficulty with ``difficulty``, ``mean_step``, ``num_steps_early`` and ``error`` (from 0 to 1).
        title: Text above.

    Raises:
        ValueError: If ``rows`` is empty or a row lacks one of these entries.
    """
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise TypeError(f"rows must be a sequence of rows, got {rows!r}")
    keys = ("difficulty", "mean_step", "num_steps_early", "error")
    missing = [key for key in keys if any(key not in row for row in rows)]
    if not rows or missing:
        raise ValueError(f"rows: expected rows with {', '.join(keys)}; got {len(rows)} rows without {missing}")
    difficulty, mean_step, num_steps, error = (np.array([row[key] for row in rows]) for key in keys)
    figure, (steps, errors) = charts(title, [3.0, 1.5])
    steps.plot(difficulty, num_steps, color=VERMILION, marker="o", label="steps computed, stopping early")
    steps.plot(difficulty, mean_step, color=BLUE, marker="s", label="mean index under the weights")
    steps.set_ylabel("inner steps")
    steps.set_ylim(bottom=0)
    steps.legend(frameon=False)
    steps.tick_params(labelbottom=False)
    errors.plot(difficulty, 100 * error, color=GREY, marker=".")
    errors.axhline(50, color=GREY, linewidth=0.6, linestyle=":")
    errors.set_ylim(-2, max(55.0, 105.0 * error.max()))
    errors.set_ylabel("errors (%)")
    errors.set_xlabel("difficulty")
    errors.sharex(steps)
    figure.align_ylabels()
    return figure


def divergence_map(divergence: Tensor, image_shape: tuple[int, int, int], *, title: str | None = None) -> "Figure":
    """Divergence of each pixel as a picture with a scale.

    Args:
        divergence: ``[D]`` in nats.
        image_shape: Channels (1), height, width.
        title: Text above.

    Raises:
        ValueError: If the shapes do not fit.
    """
    finite_tensor("divergence", divergence)
    channels, height, width = whole_numbers("image_shape", image_shape, length=3)
    if channels != 1 or divergence.shape != (height * width,):
        raise ValueError(f"divergence: expected shape [{height * width}] and one channel, got {list(divergence.shape)}")
    figure, (axes,) = charts(title, [1.0])
    picture = axes.imshow(divergence.detach().cpu().double().reshape(height, width).numpy(), cmap="magma")
    axes.set_axis_off()
    figure.colorbar(picture, ax=axes, label="KL (nats)")
    return figure
