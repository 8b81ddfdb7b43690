"""Street View House Numbers, cropped digits, from the public MATLAB files."""

import os

import numpy as np
import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import DataFile, read
from pyrodgm.datasets.matlab import parse_mat
from pyrodgm.datasets.pca import pca
from pyrodgm.datasets.resplit import rows
from pyrodgm.datasets.split import Split, shuffled

ADDRESS = "http://ufldl.stanford.edu/housenumbers/"
MD5 = {"train": "e26dedcc434d2e4c54c9b2d4a06d8373", "test": "eb5a983be6a315427106f1b164d9cef3"}
FILES = {part: DataFile(f"svhn/{part}_32x32.mat", f"{ADDRESS}{part}_32x32.mat", md5, md5) for part, md5 in MD5.items()}
SPLIT_SEED = 0
VALID_SHARE = 8257 / 73_257


def load_svhn(root: str | os.PathLike[str] | None = None) -> Dataset:
    """SVHN's cropped digits, 65,000 / 8,257 / 26,032 images of 3x32x32; the first two come from a fixed seed."""
    pool, test = (parse_svhn(read(FILES[part], root)) for part in ("train", "test"))
    order = shuffled(len(pool), SPLIT_SEED)
    train, valid = order.split([len(pool) - round(VALID_SHARE * len(pool)), round(VALID_SHARE * len(pool))])
    return Dataset.from_tensors(
        rows(pool, train), rows(pool, valid), test, image_shape=(3, 32, 32), num_bins=256, name="svhn"
    )


def load_svhn_pca(root: str | os.PathLike[str] | None = None) -> Dataset:
    """`load_svhn` in its first 500 principal components, as Nalisnick and Smyth (2017), arXiv 1605.06197, have it."""
    return pca(load_svhn(root), 500)


def parse_svhn(content: bytes) -> Split:
    """Images `[N, 3 * 32 * 32]` in [0, 1] and labels from the content of a MATLAB file.

    It holds `X`, `[32, 32, 3, N]` bytes, and `y`, `[N, 1]` with 1 to 9 and 10 for the digit 0.

    Raises:
        ValueError: the content is no MATLAB file, or a variable in it is missing or has another shape or value.
    """
    variables = parse_mat(content, {"X": (32, 32, 3, "N"), "y": ("N", 1)})
    x, y = variables["X"], variables["y"]
    if x.dtype != np.uint8 or y.dtype.kind not in "uif" or x.size == 0:
        raise ValueError(
            f"content: expected at least one image of bytes X and its label y, got {x.dtype}{list(x.shape)}"
        )
    if not ((y >= 1) & (y <= 10) & (y % 1 == 0)).all():
        raise ValueError(f"content: expected labels y from 1 to 10, got {y.min()} to {y.max()}")
    images = torch.from_numpy(np.ascontiguousarray(x.transpose(3, 2, 0, 1))).flatten(1).float().div_(255)
    return Split(images, torch.from_numpy(y.ravel().astype("int64") % 10))
