"""Pictures of many images, each pixel a whole number of screen pixels."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pyrodgm.plots.style import DPI

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_SIDE = 1200  # screen pixels of a mosaic
BETWEEN = 0.7  # the grey between tiles: neither the black nor the white that binary images have at their edges


def image_grid(
    images: Tensor, image_shape: tuple[int, int, int], *, columns: int | None = None, title: str | None = None
) -> "Figure":
    """Images side by side, in reading order: real ones, samples from a model, pseudo-inputs.

    Args:
        images: ``[N, *]`` in [0, 1], each image with as many values as ``image_shape`` says.
        image_shape: Channels, height, width. One channel is grey, three are colours; those of any other number stand
            side by side in each image's place, each grey.
        columns: Images a row; by default the grid is about as high as wide.
        title: Text above.

    Raises:
        ValueError: If a shape or value does not fit; names the argument.

    Example:
        >>> image_grid(torch.rand(100, 64), (1, 8, 8), title="noise").axes[0].images[0].get_array().shape
        (91, 91)
    """
    tiles = _tiles("images", images, image_shape)
    return _picture(_mosaic(tiles, _columns(columns, tiles)), title)


def reconstructions(
    originals: Tensor,
    reconstructed: Tensor,
    image_shape: tuple[int, int, int],
    *,
    columns: int | None = None,
    title: str | None = None,
) -> "Figure":
    """Each image with its reconstruction at its right.

    Args:
        originals: ``[N, *]`` in [0, 1].
        reconstructed: ``[N, *]`` in [0, 1].
        image_shape: Channels, height, width, as in :func:`image_grid`.
        columns: Pairs a row; by default the grid is about as high as wide.
        title: Text above.

    Raises:
        ValueError: If a shape or value does not fit; names the argument.
    """
    left, right = _tiles("originals", originals, image_shape), _tiles("reconstructed", reconstructed, image_shape)
    if len(left) != len(right):
        raise ValueError(f"reconstructed: expected {len(left)} images, as many as originals; got {len(right)}")
    pairs = np.concatenate([left, np.full_like(left[:, :, : _gap(left)], BETWEEN), right], axis=2)
    return _picture(_mosaic(pairs, _columns(columns, pairs), widen=3), title)


def grown_samples(
    pseudo_inputs: Tensor, samples: Tensor, image_shape: tuple[int, int, int], *, title: str | None = None
) -> "Figure":
    """Pseudo-inputs in the first column, in each row the samples that were grown from that one.

    Args:
        pseudo_inputs: ``[K, *]`` in [0, 1].
        samples: ``[K, N, *]`` in [0, 1].
        image_shape: Channels, height, width, as in :func:`image_grid`.
        title: Text above.

    Raises:
        ValueError: If a shape or value does not fit; names the argument.
    """
    if samples.dim() < 3 or len(samples) != len(pseudo_inputs):
        raise ValueError(f"samples: expected shape [{len(pseudo_inputs)}, N, *], got {list(samples.shape)}")
    seeds = _tiles("pseudo_inputs", pseudo_inputs, image_shape)
    grown = _tiles("samples", samples.flatten(0, 1), image_shape)
    left, right = _mosaic(seeds, 1), _mosaic(grown, samples.shape[1])
    return _picture(np.concatenate([left, np.full_like(left[:, : _gap(seeds)], BETWEEN), right], axis=1), title)


def side_by_side(
    groups: Mapping[str, Tensor], image_shape: tuple[int, int, int], *, columns: int | None = None
) -> "Figure":
    """Groups of images beside each other, each with its name above: samples from two priors, say.

    Args:
        groups: Images ``[N, *]`` in [0, 1] of each group, by its name.
        image_shape: Channels, height, width, as in :func:`image_grid`.
        columns: Images a row of each group; by default each is about as high as wide.

    Raises:
        ValueError: If there is no group, or a shape or value does not fit; names the argument.

    Example:
        >>> figure = side_by_side({"left": torch.rand(9, 64), "right": torch.rand(9, 64)}, (1, 8, 8))
        >>> [axes.get_title() for axes in figure.axes]
        ['left', 'right']
    """
    from matplotlib.figure import Figure

    if not groups:
        raise ValueError("groups: expected images of at least one group, got none")
    mosaics = {}
    for name, images in groups.items():
        tiles = _tiles(f"groups[{name!r}]", images, image_shape)
        mosaics[name] = _mosaic(tiles, _columns(columns, tiles))
    sides = [mosaic.shape[1] / mosaic.shape[0] for mosaic in mosaics.values()]
    figure = Figure(figsize=(4.2 * sum(sides), 4.5), dpi=DPI, layout="constrained")
    for axes, (name, mosaic) in zip(
        figure.subplots(1, len(mosaics), squeeze=False, width_ratios=sides)[0], mosaics.items(), strict=True
    ):
        axes.set_axis_off()
        axes.set_title(name, fontsize=11)
        pixels = mosaic[..., 0] if mosaic.shape[-1] == 1 else mosaic
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return figure


def _tiles(name: str, images: Tensor, image_shape: tuple[int, int, int]) -> np.ndarray:
    """The images as ``[N, height, width, 1 or 3]``, channels of another number side by side as ``[N, H, C * W, 1]``."""
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(f"image_shape: expected (channels, height, width), each at least 1, got {image_shape}")
    if images.dim() < 2 or not len(images) or math.prod(images.shape[1:]) != math.prod(image_shape):
        raise ValueError(f"{name}: expected at least one image of shape {image_shape}, got {list(images.shape)}")
    images = images.detach().to("cpu", torch.float64)
    if not ((images >= 0) & (images <= 1)).all():
        raise ValueError(f"{name}: expected values in [0, 1], got some from {images.min():.4g} to {images.max():.4g}")
    images = images.reshape(-1, *image_shape)
    if image_shape[0] not in (1, 3):
        images = images.transpose(1, 2).flatten(2).unsqueeze(1)
    return images.movedim(1, -1).numpy()


def _columns(columns: int | None, tiles: np.ndarray) -> int:
    if columns is None:
        count, height, width, _ = tiles.shape
        square = max(1, round(math.sqrt(count * height / width)))
        # The fewest empty places in the last row, the squarest of these.
        columns = min(range(square, square * 3 // 2 + 1), key=lambda c: (-count % c, c))
    if columns < 1:
        raise ValueError(f"columns: expected at least 1, got {columns}")
    return min(columns, len(tiles))


def _gap(tiles: np.ndarray) -> int:
    return max(1, round(min(tiles.shape[1:3]) / 14))


def _mosaic(tiles: np.ndarray, columns: int, widen: int = 1) -> np.ndarray:
    """One picture of all tiles in rows, with a gap around each, ``widen`` times as wide beside it as above it."""
    count, height, width, channels = tiles.shape
    rows, gap = -(-count // columns), _gap(tiles)
    right = width + widen * gap
    cells = np.full((rows * columns, height + gap, right, channels), BETWEEN)
    cells[:count, :height, :width] = tiles
    grid = cells.reshape(rows, columns, height + gap, right, channels).swapaxes(1, 2)
    inner = grid.reshape(rows * (height + gap), columns * right, channels)[:, : gap - widen * gap or None]
    return np.pad(inner, ((gap, 0), (gap, 0), (0, 0)), constant_values=BETWEEN)


def _picture(mosaic: np.ndarray, title: str | None) -> "Figure":
    """A figure as large as the mosaic, each of whose pixels covers a whole number of screen pixels."""
    from matplotlib.figure import Figure

    scale = max(1, LONGEST_SIDE // max(mosaic.shape[:2]))
    height, width = (scale * side / DPI for side in mosaic.shape[:2])
    strip = 0.36 if title else 0.0
    room, total = max(width, 0.095 * len(title or "")), height + strip
    figure = Figure(figsize=(room, total), dpi=DPI)
    axes = figure.add_axes(((room - width) / 2 / room, 0, width / room, height / total))
    axes.set_axis_off()
    pixels = mosaic[..., 0] if mosaic.shape[-1] == 1 else mosaic
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    if title:
        figure.text(0.5, 1 - 0.5 * strip / total, title, ha="center", va="center", fontsize=11)
    return figure
