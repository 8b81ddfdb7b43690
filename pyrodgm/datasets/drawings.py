"""The original drawings of OMNIGLOT, reduced to 28x28."""

import io
import re
import zipfile

import numpy as np

SIZE, REDUCED = 105, 28


def parse_drawings(content: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drawings from an archive of the original PNG files, each named after its character and its drawer.

    A pixel is the share of ink in a square of 3.75x3.75, in 256 levels, white on black.

    Args:
        content: a zip archive with files such as `images_background/Arcadian/character01/0079_20.png`: character 79,
            drawer 20; 105x105, ink black on white.

    Returns:
        Images `[N, 28, 28]` uint8, numbers of the characters `[N]` and of the drawers `[N]` int64, sorted by these.

    Raises:
        ValueError: there are no such files, or one has another size.
    """
    from matplotlib.image import imread

    found = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            numbers = re.search(r"(?:^|/)(\d{4})_(\d{2})\.png$", name)
            if numbers:
                pixels = imread(io.BytesIO(archive.read(name)))
                if pixels.shape != (SIZE, SIZE):
                    raise ValueError(f"content: expected drawings of {SIZE}x{SIZE}, {name} has {list(pixels.shape)}")
                found.append((int(numbers[1]), int(numbers[2]), _reduced(pixels < 0.5)))
    if not found:
        raise ValueError("content: expected drawings named NNNN_NN.png in the archive, found none")
    found.sort(key=lambda drawing: drawing[:2])
    character, drawer, images = zip(*found, strict=True)
    return np.stack(images), np.array(character), np.array(drawer)


def _reduced(ink: np.ndarray) -> np.ndarray:
    # Quarters of pixels, fifteen to the side of a square: whole numbers, so that rounding is the same anywhere.
    parts = ink.repeat(4, 0).repeat(4, 1).reshape(REDUCED, 15, REDUCED, 15).sum((1, 3))
    return ((510 * parts + 225) // 450).astype(np.uint8)
