"""What all figures look like."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyrodgm.plots.drawing import Drawing

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#666666"

# Ten colours that stay apart for all common kinds of colour vision: Petroff (2021), arXiv 2107.02270, and a shape for
# each, which tells classes apart without any colour.
PALETTE = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
DPI = 150
LETTER = 0.095  # width of a letter of a title in inches


def charts(title: str | None, heights: list[float]) -> tuple["Drawing", Any]:
    """A figure of charts above each other, with these relative heights, and its axes."""
    from pyrodgm.plots.drawing import Drawing

    figure = Drawing(figsize=(6.4, 4.0), dpi=DPI, layout="constrained")
    charts = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes in charts:
        axes.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure, charts


def number(value: float) -> str:
    """Two decimals, with a minus sign of the width of a digit."""
    return f"{value:.2f}".replace("-", "−")
