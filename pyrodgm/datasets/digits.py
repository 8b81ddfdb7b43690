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
    with needs_extra("data"):
        from sklearn.datasets import load_digits as load_scans

    scans = load_scans()
    images = torch.from_numpy(scans.images.astype("float32")).div_(16)
    labels = torch.from_numpy(scans.target.astype("int64"))
    parts = (Split(images[rows], labels[rows]) for rows in shuffled(len(images), SPLIT_SEED).split([1197, 300, 300]))
    return Dataset.from_tensors(*parts, name="digits", binarization="dynamic")
