"""A plane of latents to walk through in a browser."""

import base64
import html
import io
from collections.abc import Sequence
from string import Template

from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_numbers
from pyrodgm.extras import needs_extra
from pyrodgm.plots.mosaic import to_tiles


def traversal_page(
    images: Tensor,
    image_shape: tuple[int, int, int],
    size: tuple[int, int],
    *,
    labels: tuple[str, str] = ("first latent", "second latent"),
    title: str = "Latent traversal",
) -> str:
    """A web page of its own with the image at one point of a grid, which two sliders or the pointer choose.

    The page holds all images and its program, about 20 lines, and asks nothing of any server.

    Args:
        images: ``[R * C, *]`` in [0, 1], row by row from the top, such as decoded points of a plane of latents.
        image_shape: Channels (1 or 3), height, width.
        size: Rows R and columns C.
        labels: What grows to the right, and what grows upwards.
        title: Title of the page.

    Returns:
        HTML, for a file or the ``srcdoc`` of a frame.

    Raises:
        ValueError: If a shape or value does not fit; names the argument.

    Example:
        >>> import torch
        >>> page = traversal_page(torch.rand(12, 64), (1, 8, 8), (3, 4))
        >>> page.startswith("<!DOCTYPE html>") and "http" not in page
        True
    """
    with needs_extra("plots"):
        from matplotlib.image import imsave

    rows, columns = whole_numbers("size", size, length=2)
    if isinstance(labels, str) or not isinstance(labels, Sequence) or len(labels) != 2:
        raise TypeError(f"labels must be two names, got {labels!r}")
    tiles = to_tiles("images", images, image_shape)
    if len(tiles) != rows * columns:
        raise ValueError(f"size: expected rows and columns of {len(tiles)} images, got {size}")
    _, height, width, channels = tiles.shape
    whole = tiles.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    whole = whole.reshape(rows * height, columns * width, channels)
    file = io.BytesIO()
    imsave(file, whole.repeat(3, -1) if channels == 1 else whole, format="png")
    return _PAGE.substitute(
        title=html.escape(title),
        across=html.escape(labels[0]),
        up=html.escape(labels[1]),
        rows=rows,
        columns=columns,
        height=height,
        width=width,
        png=base64.b64encode(file.getvalue()).decode(),
    )


_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px sans-serif; margin: 0.6em; max-width: 32em; }
h1 { font-size: 1.1em; }
canvas { image-rendering: pixelated; width: min(100%, 16em); aspect-ratio: $width / $height; touch-action: none; }
label { display: grid; grid-template-columns: 9em 1fr; margin: 0.4em 0; }
</style>
</head>
<body>
<main>
<h1>$title</h1>
<canvas id="image" width="$width" height="$height" role="img" aria-label="image at the chosen point"></canvas>
<label>$across <input id="across" type="range" min="0" max="$columns" step="1"></label>
<label>$up <input id="up" type="range" min="0" max="$rows" step="1"></label>
</main>
<script>
const canvas = document.getElementById("image"), ink = canvas.getContext("2d"), all = new Image();
const across = document.getElementById("across"), up = document.getElementById("up");
across.max = $columns - 1;
up.max = $rows - 1;
across.value = Math.floor($columns / 2);
up.value = Math.floor($rows / 2);
function show() {
  ink.drawImage(all, -$width * across.value, -$height * ($rows - 1 - up.value));
}
canvas.addEventListener("pointermove", (event) => {
  const box = canvas.getBoundingClientRect();
  across.value = Math.floor((event.clientX - box.left) / box.width * $columns);
  up.value = $rows - 1 - Math.floor((event.clientY - box.top) / box.height * $rows);
  show();
});
across.addEventListener("input", show);
up.addEventListener("input", show);
all.onload = show;
all.src = "data:image/png;base64,$png";
</script>
</body>
</html>
""")
