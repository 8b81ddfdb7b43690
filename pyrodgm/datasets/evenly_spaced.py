"""Evenly spaced choices: files of data are often sorted by class."""

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_number


def evenly_spaced(total: int, count: int) -> Tensor:
    """``count`` indices, ``[count]``, evenly spaced over ``total`` data.

    Args:
        total: Number of data.
        count: Number of indices.

    Raises:
        ValueError: If ``count`` is less than 1 or more than ``total``.

    Example:
        >>> evenly_spaced(10, 4).tolist()
        [0, 2, 5, 7]
    """
    total, count = whole_number("total", total), whole_number("count", count, None)
    if not 1 <= count <= total:
        raise ValueError(f"count must be a number of images from 1 to {total}, got {count}")
    return torch.arange(count) * total // count
