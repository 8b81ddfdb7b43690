"""Many images as one picture, each pixel of which is a whole number of screen pixels."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import tensors, whole_number, whole_numbers
from pyrodgm.plots.style import DPI, LETTER

if TYPE_CHECKING:
    from pyrodgm.plots.drawing import Drawing

LONGEST_SIDE = 1200  # screen pixels of a mosaic
BETWEEN = 0.7  # the grey between tiles: neither the black nor the white that binary images have at their edges
LINE = 0.36  # height of a title in inches; a line of labels has three quarters of it


def sizes_of_image(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Channels, height and width as whole numbers."""
    channels, height, width = whole_numbers("image_shape", image_shape, length=3)
    return channels, height, width


def to_tiles(name: str, images: Tensor, image_shape: tuple[int, int, int]) -> np.ndarray:
    """The images as ``[N, height, width, 1 or 3]``, channels of another number side by side as ``[N, H, C * W, 1]``."""
    tensors(**{name: images})
    image_shape = sizes_of_image(image_shape)
    if images.dim() < 2 or not len(images) or math.prod(images.shape[1:]) != math.prod(image_shape):
        raise ValueError(f"{name}: expected at least one image of shape {image_shape}, got {list(images.shape)}")
    images = images.detach().to("cpu", torch.float64)
    if not ((images >= 0) & (images <= 1)).all():
        raise ValueError(f"{name}: expected values in [0, 1], got some from {images.min():.4g} to {images.max():.4g}")
    images = images.reshape(-1, *image_shape)
    if image_shape[0] not in (1, 3):
        images = images.transpose(1, 2).flatten(2).unsqueeze(1)
    return images.movedim(1, -1).numpy()


def count_columns(columns: int | None, tiles: np.ndarray) -> int:
    """Columns of a grid of the tiles: as given, or about as many as make it square."""
    if columns is None:
        count, height, width, _ = tiles.shape
        square = max(1, round(math.sqrt(count * height / width)))
        # The fewest empty places in the last row, the squarest of these.
        columns = min(range(square, square * 3 // 2 + 1), key=lambda c: (-count % c, c))
    return min(whole_number("columns", columns), len(tiles))


def gap_between(tiles: np.ndarray) -> int:
    """Pixels between two tiles."""
    return max(1, round(min(tiles.shape[1:3]) / 14))


def join(tiles: np.ndarray, columns: int, widen: int = 1) -> np.ndarray:
    """One picture of all tiles in rows, with a gap around each, ``widen`` times as wide beside it as above it."""
    count, height, width, channels = tiles.shape
    rows, gap = -(-count // columns), gap_between(tiles)
    right = width + widen * gap
    cells = np.full((rows * columns, height + gap, right, channels), BETWEEN)
    cells[:count, :height, :width] = tiles
    grid = cells.reshape(rows, columns, height + gap, right, channels).swapaxes(1, 2)
    inner = grid.reshape(rows * (height + gap), columns * right, channels)[:, : gap - widen * gap or None]
    return np.pad(inner, ((gap, 0), (gap, 0), (0, 0)), constant_values=BETWEEN)


def picture(
    mosaic: np.ndarray,
    title: str | None,
    *,
    note: str | None = None,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> "Drawing":
    """A figure as large as the mosaic, each of whose pixels covers a whole number of screen pixels.

    Above it are the title and a line with the note or the names of the columns, at its left the names of the rows; rows
    and columns are of equal sizes.
    """
    from pyrodgm.plots.drawing import Drawing

    scale = max(1, LONGEST_SIDE // max(mosaic.shape[:2]))
    height, width = (scale * side / DPI for side in mosaic.shape[:2])
    above = 0.75 * LINE if note or columns else 0.0
    strip = (LINE if title else 0.0) + above
    left = round((0.08 * max(map(len, rows)) + 0.12) * DPI) / DPI if rows else 0.0
    room, total = max(left + width, LETTER * len(title or ""), 0.08 * len(note or "")), height + strip
    start = left + (room - left - width) / 2
    figure = Drawing(figsize=(room, total), dpi=DPI)
    axes = figure.add_axes((start / room, 0, width / room, height / total))
    axes.set_axis_off()
    pixels = mosaic[..., 0] if mosaic.shape[-1] == 1 else mosaic
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="none", aspect="auto")
    if title:
        figure.text(0.5, 1 - 0.5 * LINE / total, title, ha="center", va="center", fontsize=11)
    line = (height + 0.45 * above) / total
    if note:
        figure.text(0.5, line, note, ha="center", va="center", fontsize=9)
    for i, name in enumerate(columns or ()):
        place = (start + (i + 0.5) * width / len(columns or ())) / room
        figure.text(place, line, name, ha="center", va="center", fontsize=9)
    for i, name in enumerate(rows or ()):
        middle = (height - (i + 0.5) * height / len(rows or ())) / total
        figure.text((start - 0.06) / room, middle, name, ha="right", va="center", fontsize=9)
    return figure
