"""What all figures look like."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#666666"
DPI = 150


def charts(title: str | None, heights: list[float]) -> tuple["Figure", Any]:
    """A figure of charts above each other, with these relative heights, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), dpi=DPI, layout="constrained")
    charts = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes in charts:
        axes.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure, charts


def number(value: float) -> str:
    """Two decimals, with a minus sign of the width of a digit."""
    return f"{value:.2f}".replace("-", "−")
