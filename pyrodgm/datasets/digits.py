"""scikit-learn's handwritten digits."""

import os

import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.split import Split, shuffled
from pyrodgm.extras import needs_extra

SPLIT_SEED = 0


def load_digits(root: str | os.PathLike[str] | None = None) -> Dataset:
    """The 1,797 scans of 8x8 that come with scikit-learn (`root` is not used), binarised anew for each batch.

    The file is ordered by writer, so that the rows are shuffled (by a fixed seed) before they are cut into 1,197
    training, 300 validation and 300 test images.
    """
    parts = (Split(split.images.unflatten(1, (8, 8)) / 16, split.labels) for split in _splits())
    return Dataset.from_tensors(*parts, name="digits", binarization="dynamic")


def load_digit_counts(root: str | os.PathLike[str] | None = None) -> Dataset:
    """The same scans, in the same splits, as what they were made of: 64 counts from 0 to 16.

    Each is the number of pixels that are on in a block of 4x4 of a scan of 32x32.
    """
    train, valid, test = _splits()
    return Dataset("digit_counts", train, valid, test, image_shape=(1, 8, 8), values="counts", binarization="none")


def _splits() -> list[Split]:
    """Counts `[N, 64]` to train, validate and test."""
    with needs_extra("data"):
        from sklearn.datasets import load_digits as load_scans

    scans = load_scans()
    images, labels = (
        torch.tensor(scans.data, dtype=torch.float32, device="cpu"),
        torch.from_numpy(scans.target.astype("int64")),
    )
    return [Split(images[rows], labels[rows]) for rows in shuffled(len(images), SPLIT_SEED).split([1197, 300, 300])]
