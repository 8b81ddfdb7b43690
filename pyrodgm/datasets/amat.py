"""The amat format of Larochelle's binarised MNIST: one image a line, digits 0 or 1 separated by single blanks."""

import numpy as np


def parse_amat(content: bytes, columns: int) -> np.ndarray:
    r"""Rows of zeros and ones from the content of an amat file.

    Every row has the same length in bytes, so that the text is an array already; `numpy.loadtxt` takes a hundred times
    as long.

    Args:
        content: lines of `columns` digits 0 or 1, single blanks between them, each line ended by a line feed.
        columns: digits in a row.

    Returns:
        uint8 array `[rows, columns]` of 0 and 1.

    Raises:
        ValueError: the text has another layout.

    >>> parse_amat(b"0 1 1\n1 0 0\n", columns=3)
    array([[0, 1, 1],
           [1, 0, 0]], dtype=uint8)
    """
    layout = f"expected lines of {columns} digits 0 or 1 with single blanks between them and a line feed at the end"
    if len(content) % (2 * columns):
        raise ValueError(f"content: {layout}, {2 * columns} bytes a line; {len(content)} bytes are no multiple of that")
    text = np.frombuffer(content, dtype=np.uint8).reshape(-1, 2 * columns)
    values = text[:, ::2] - ord("0")
    wrong = (values > 1).any(1) | (text[:, 1:-1:2] != ord(" ")).any(1) | (text[:, -1] != ord("\n"))
    if wrong.any():
        raise ValueError(f"content: {layout}; line {wrong.argmax() + 1} has another layout")
    return values
