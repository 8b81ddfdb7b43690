"""The idx format, in which MNIST, Fashion-MNIST and KMNIST are distributed."""

import math

import numpy as np

DIMENSIONS, LARGEST = 32, 2**62


def parse_idx(content: bytes) -> np.ndarray:
    """Array of unsigned bytes from the content of an idx file.

    Two zero bytes, the type (8: unsigned byte), the number of dimensions, each size as a big-endian 32-bit integer,
    then the values in row-major order.

    Returns:
        uint8 array, read-only, of the shape that the header gives.

    Raises:
        ValueError: the header or the number of values is wrong.

    >>> parse_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]))
    array([[7, 8, 9]], dtype=uint8)
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(
            f"content: expected an idx file of unsigned bytes (00 00 08), it begins with {content[:4].hex(' ')}"
        )
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError(f"content: the idx header of {start} bytes is cut off at {len(content)}")
    shape = np.frombuffer(content[4:start], dtype=">u4").tolist()
    if len(shape) > DIMENSIONS or math.prod(max(size, 1) for size in shape) > LARGEST:  # which no array can have
        raise ValueError(f"content: the idx header gives the shape {shape}")
    if len(content) - start != math.prod(shape):
        raise ValueError(f"content: the idx header gives the shape {shape}, but {len(content) - start} values follow")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
