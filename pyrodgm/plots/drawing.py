"""Figures that notebooks show by themselves; imported by the functions that draw, as it imports matplotlib."""

from matplotlib.figure import Figure

from pyrodgm.plots.saving import svg


class Drawing(Figure):
    """A matplotlib ``Figure`` that notebooks show as an SVG in the scheme of the reader."""

    def _repr_svg_(self) -> str:
        return svg(self)
