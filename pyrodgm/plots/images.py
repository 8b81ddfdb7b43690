"""Pictures of many images."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyrodgm.arithmetic.arguments import tensors
from pyrodgm.plots.mosaic import BETWEEN, count_columns, gap_between, join, picture, to_tiles
from pyrodgm.plots.style import DPI

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def image_grid(
    images: Tensor,
    image_shape: tuple[int, int, int],
    *,
    columns: int | None = None,
    title: str | None = None,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
) -> "Figure":
    """Images side by side, in reading order: real ones, samples from a model, pseudo-inputs.

    Args:
        images: ``[N, *]`` in [0, 1], each image with as many values as ``image_shape`` says.
        image_shape: Channels, height, width. One channel is grey, three are colours; those of any other number stand
            side by side in each image's place, each grey.
        columns: Images a row; by default the grid is about as high as wide.
        title: Text above.
        row_labels: A name for each row, at its left.
        column_labels: A name for each column, above it.

    Raises:
        ValueError: If a shape or value does not fit; names the argument.

    Example:
        >>> import torch
        >>> image_grid(torch.rand(100, 64), (1, 8, 8), title="noise").axes[0].images[0].get_array().shape
        (91, 91)
    """
    tiles = to_tiles("images", images, image_shape)
    across = count_columns(columns, tiles)
    for name, labels, count in (
        ("row_labels", row_labels, -(-len(tiles) // across)),
        ("column_labels", column_labels, across),
    ):
        if labels is not None and len(labels) != count:
            raise ValueError(f"{name}: expected {count} of them, got {len(labels)}")
    return picture(join(tiles, across), title, rows=row_labels, columns=column_labels)


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
    left, right = to_tiles("originals", originals, image_shape), to_tiles("reconstructed", reconstructed, image_shape)
    if len(left) != len(right):
        raise ValueError(f"reconstructed: expected {len(left)} images, as many as originals; got {len(right)}")
    pairs = np.concatenate([left, np.full_like(left[:, :, : gap_between(left)], BETWEEN), right], axis=2)
    note = "in each pair: input on the left, reconstruction on the right"
    return picture(join(pairs, count_columns(columns, pairs), widen=3), title, note=note)


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
    tensors(pseudo_inputs=pseudo_inputs, samples=samples)
    if samples.dim() < 3 or len(samples) != len(pseudo_inputs):
        raise ValueError(
            f"samples must have shape [K, N, *] for the {len(pseudo_inputs)} pseudo_inputs, got {list(samples.shape)}"
        )
    seeds = to_tiles("pseudo_inputs", pseudo_inputs, image_shape)
    grown = to_tiles("samples", samples.flatten(0, 1), image_shape)
    left, right = join(seeds, 1), join(grown, samples.shape[1])
    return picture(np.concatenate([left, np.full_like(left[:, : gap_between(seeds)], BETWEEN), right], axis=1), title)


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
        >>> import torch
        >>> figure = side_by_side({"left": torch.rand(9, 64), "right": torch.rand(9, 64)}, (1, 8, 8))
        >>> [axes.get_title() for axes in figure.axes]
        ['left', 'right']
    """
    from pyrodgm.plots.drawing import Drawing

    if not isinstance(groups, Mapping):
        raise TypeError(f"groups must be images by name, got {groups!r}")
    if not groups:
        raise ValueError("groups: expected images of at least one group, got none")
    mosaics = {}
    for name, images in groups.items():
        tiles = to_tiles(f"groups[{name!r}]", images, image_shape)
        mosaics[name] = join(tiles, count_columns(columns, tiles))
    sides = [mosaic.shape[1] / mosaic.shape[0] for mosaic in mosaics.values()]
    figure = Drawing(figsize=(4.2 * sum(sides), 4.5), dpi=DPI, layout="constrained")
    for axes, (name, mosaic) in zip(
        figure.subplots(1, len(mosaics), squeeze=False, width_ratios=sides)[0], mosaics.items(), strict=True
    ):
        axes.set_axis_off()
        axes.set_title(name, fontsize=11)
        pixels = mosaic[..., 0] if mosaic.shape[-1] == 1 else mosaic
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="none")
    return figure
