"""The original drawings of OMNIGLOT, reduced to 28x28."""

import io
import re
import zipfile

import numpy as np

from pyrodgm.extras import needs_extra

SIZE, REDUCED = 105, 28
LARGEST = 1 << 16  # bytes of a drawing; published ones have 200
RATIO = 16  # at most, of unpacked to packed bytes; PNG files are packed already
NAME = r"(?:^|/)(\d{4})_(\d{2})\.png$"


def parse_drawings(content: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drawings from an archive of the original PNG files, each named after its character and its drawer.

    A pixel is the share of ink in a square of 3.75x3.75, in 256 levels, white on black.

    Args:
        content: a zip archive with files such as `images_background/Arcadian/character01/0079_20.png`: character 79,
            drawer 20; 105x105, ink black on white.

    Returns:
        Images `[N, 28, 28]` uint8, numbers of the characters `[N]` and of the drawers `[N]` int64, sorted by these.

    Raises:
        ValueError: the content is no such archive or is damaged, there are no such files, or one has another size.
    """
    found = []
    for name, stored in _members(content):
        numbers = re.search(NAME, name)
        if numbers:
            found.append((int(numbers[1]), int(numbers[2]), _reduced(_ink(name, stored))))
    if not found:
        raise ValueError("content: expected drawings named NNNN_NN.png in the archive, found none")
    found.sort(key=lambda drawing: drawing[:2])
    character, drawer, images = zip(*found, strict=True)
    return np.stack(images), np.array(character), np.array(drawer)


def _members(content: bytes) -> list[tuple[str, bytes]]:
    """Names and contents of the drawings in the archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            drawings = [member for member in archive.infolist() if re.search(NAME, member.filename)]
            total = sum(member.file_size for member in drawings)
            if max((member.file_size for member in drawings), default=0) <= LARGEST and total <= RATIO * len(content):
                return [(member.filename, archive.read(member)) for member in drawings]
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(f"content: no zip archive, or a damaged one: {error or type(error).__name__}") from error
    raise ValueError(f"content: expected drawings of at most {LARGEST:,} bytes, got {total:,} bytes in {len(drawings)}")


def _ink(name: str, stored: bytes) -> np.ndarray:
    """Where a drawing is black, `[105, 105]`."""
    with needs_extra("data"):
        from matplotlib.image import imread

    if stored[:8] != b"\x89PNG\r\n\x1a\n" or len(stored) < 24:
        raise ValueError(f"content: expected PNG files, {name} is none")
    size = [int.from_bytes(stored[20:24]), int.from_bytes(stored[16:20])]
    if size != [SIZE, SIZE]:  # before it is unpacked
        raise ValueError(f"content: expected drawings of {SIZE}x{SIZE}, {name} has {size}")
    try:
        pixels = imread(io.BytesIO(stored))
    except Exception as error:  # a damaged image can raise anything
        raise ValueError(f"content: {name} is damaged: {error or type(error).__name__}") from error
    if pixels.shape != (SIZE, SIZE):
        raise ValueError(f"content: expected drawings in black and white, {name} is {list(pixels.shape)}")
    return pixels < 0.5


def _reduced(ink: np.ndarray) -> np.ndarray:
    # Quarters of pixels, fifteen to the side of a square: whole numbers, so that rounding is the same anywhere.
    parts = ink.repeat(4, 0).repeat(4, 1).reshape(REDUCED, 15, REDUCED, 15).sum((1, 3))
    return ((510 * parts + 225) // 450).astype(np.uint8)
