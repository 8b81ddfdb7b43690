"""Figures that notebooks show by themselves; imported by the functions that draw, as it imports matplotlib."""

from pyrodgm.extras import needs_extra
from pyrodgm.plots.saving import svg

with needs_extra("plots"):
    from matplotlib.figure import Figure


class Drawing(Figure):
    """A matplotlib ``Figure`` that notebooks show as an SVG in the scheme of the reader."""

    def _repr_svg_(self) -> str:
        return svg(self)
