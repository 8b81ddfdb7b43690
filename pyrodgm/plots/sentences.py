"""Pictures of sentences."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.plots.style import DPI, GREY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE = 0.14  # inches


def sentences(groups: Mapping[str, Sequence[str]], *, width: int = 90, title: str | None = None) -> "Figure":
    """Sentences below each other, under the name of each group.

    Args:
        groups: Sentences of each group, by its name.
        width: Letters of a line, at least 20; longer sentences take several.
        title: Text above.

    Raises:
        TypeError: If ``groups`` are no sequences of strings by name.
        ValueError: If there is no sentence, or ``width`` is too small.

    Example:
        >>> len(sentences({"samples": ["a cat sat", "a dog"]}).texts)
        3
    """
    from pyrodgm.plots.drawing import Drawing

    width = whole_number("width", width, 20)
    if not isinstance(groups, Mapping) or not all(
        isinstance(lines, Sequence) and not isinstance(lines, str) and all(isinstance(s, str) for s in lines)
        for lines in groups.values()
    ):
        raise TypeError(f"groups must be sequences of strings by name, got {groups!r:.200}")
    if not any(groups.values()):
        raise ValueError("groups must hold sentences, got none")
    rows: list[tuple[str, bool]] = []
    for name, lines in groups.items():
        rows.append((name, True))
        rows += [(textwrap.fill(line, width, subsequent_indent="    "), False) for line in lines]
    heights = [text.count("\n") + (1.7 if is_name else 1.2) for text, is_name in rows]
    size = 0.075 * width + 0.4, LINE * (sum(heights) + 1) + (0.3 if title else 0.0)
    figure, y = Drawing(figsize=size, dpi=DPI), 0.1 + (0.3 if title else 0.0)
    if title:
        figure.suptitle(title, fontsize=11)
    for (text, is_name), height in zip(rows, heights, strict=True):
        style: dict[str, Any] = {"color": GREY, "va": "bottom"} if is_name else {"family": "monospace", "va": "top"}
        below = LINE * (height - 0.2) if is_name else 0.0
        figure.text(0.2 / size[0], 1 - (y + below) / size[1], text, fontsize=8, parse_math=False, **style)
        y += LINE * height
    return figure
