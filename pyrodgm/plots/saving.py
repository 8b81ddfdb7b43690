"""Figures in a light and a dark scheme, as SVG and as files of other kinds."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pyrodgm.arithmetic.arguments import one_of
from pyrodgm.extras import needs_extra
from pyrodgm.plots.style import GREY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Theme = Literal["auto", "light", "dark"]

# Text and lines, ground, and lines that stand back.
SCHEMES = {"light": ("#1a1c1e", "#ffffff", "#666666"), "dark": ("#e6e9ed", "#131416", "#a3a8af")}
PLAIN = ("#000000", "#ffffff", GREY.lower())  # what matplotlib and the charts draw them in
NAMES = ("ink", "paper", "grey")
PLACES = ("#010203", "#040506", "#070809")  # stand for the names until the text is written
PROPERTIES = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


def svg(figure: "Figure", theme: Theme = "auto") -> str:
    """A figure as the text of an SVG file.

    Args:
        figure: Any matplotlib figure.
        theme: ``"light"``, ``"dark"``, or ``"auto"`` for one file that follows the scheme of whoever looks at it.

    Raises:
        ValueError: If there is no such theme.

    Example:
        >>> import torch
        >>> from pyrodgm import plots
        >>> "prefers-color-scheme: dark" in plots.svg(plots.sticks_used(torch.tensor([1, 2, 2]), 3))
        True
    """
    with needs_extra("plots"):
        from matplotlib import rc_context

    if not callable(getattr(figure, "savefig", None)):
        raise TypeError(f"figure must be a matplotlib figure, got {figure!r}")
    if theme != "auto":
        one_of("theme", theme, get_args(Theme))
    file = io.StringIO()
    with rc_context({"svg.hashsalt": "pyrodgm"}), _coloured(figure, PLACES if theme == "auto" else _scheme(theme)):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    if theme != "auto":
        return text
    for place, name in zip(PLACES, NAMES, strict=True):
        text = text.replace(place, f"var(--{name})")
    rules = {
        scheme: " ".join(f"--{name}: {colour};" for name, colour in zip(NAMES, colours, strict=True))
        for scheme, colours in SCHEMES.items()
    }
    style = f"svg {{ {rules['light']} }} @media (prefers-color-scheme: dark) {{ svg {{ {rules['dark']} }} }}"
    return text.replace("<defs>", f"<style>{style}</style>\n <defs>", 1)


def save(figure: "Figure", path: Path | str, theme: Theme = "auto") -> None:
    """Write a figure, an SVG file by :func:`svg`, or a file of any other kind that matplotlib writes.

    Args:
        figure: Any matplotlib figure.
        path: The file; its ending says its kind.
        theme: ``"light"``, ``"dark"`` or ``"auto"``, which is light for all files but SVG, as they cannot follow the
            reader.

    Raises:
        ValueError: If there is no such theme.
    """
    path = Path(path)
    if path.suffix == ".svg":
        path.write_text(svg(figure, theme))
        return
    with _coloured(figure, _scheme("light" if theme == "auto" else theme)):
        figure.savefig(path)


def _scheme(theme: str) -> tuple[str, ...]:
    if theme not in SCHEMES:
        raise ValueError(f"theme must be one of auto, {', '.join(SCHEMES)}, got {theme!r}")
    return SCHEMES[theme]


@contextmanager
def _coloured(figure: "Figure", colours: tuple[str, ...]) -> Iterator[None]:
    """Give what is drawn in a plain colour that of a scheme."""
    figure.draw_without_rendering()  # makes the marks and labels of the axes
    wanted, undo = dict(zip(PLAIN, colours, strict=True)), []
    for artist in figure.findobj():
        for name in PROPERTIES:
            old = getattr(artist, f"get_{name}", lambda: None)()
            new = wanted.get(_hex(old) or "")
            if new is not None:
                getattr(artist, f"set_{name}")(new)
                undo.append((artist, name, old))
    try:
        yield
    finally:
        for artist, name, old in reversed(undo):
            getattr(artist, f"set_{name}")(old)


def _hex(colour: Any) -> str | None:
    """A single opaque colour as hexadecimal digits; None for any other, for several and for none."""
    with needs_extra("plots"):
        from matplotlib.colors import to_hex

    if hasattr(colour, "shape"):
        if len(colour) != 1:
            return None
        colour = colour[0]
    try:
        text = to_hex(colour, keep_alpha=True)
    except (TypeError, ValueError):
        return None
    return text[:7] if text.endswith("ff") else None
