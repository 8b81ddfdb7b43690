"""Caltech 101 Silhouettes, from the MATLAB file with the split of the literature."""

import io
import os

import numpy as np
import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import DataFile, read
from pyrodgm.datasets.split import Split

FILE = DataFile(
    "caltech101_silhouettes/caltech101_silhouettes_28_split1.mat",
    "https://people.cs.umass.edu/~marlin/data/caltech101_silhouettes_28_split1.mat",
    url_md5="4483e9c14b188fd09937f9ea6f9ea777",
    content_md5="4483e9c14b188fd09937f9ea6f9ea777",
)


def load_caltech101_silhouettes(root: str | os.PathLike[str] | None = None) -> Dataset:
    """Silhouettes of 28x28, 4,100 / 2,264 / 2,307 of them: upright white objects on black, labels 0-100.

    In the file they lie on their side (column by column) and the object is 0, the background 1.
    """
    from scipy.io import loadmat

    content = loadmat(io.BytesIO(read(FILE, root)), variable_names=[f"{p}_{k}" for p in PARTS for k in KINDS])
    return Dataset.from_tensors(
        *(_split(content[f"{part}_data"], content[f"{part}_labels"]) for part in PARTS),
        name="caltech101_silhouettes",
        binarization="fixed",
    )


PARTS, KINDS = ("train", "val", "test"), ("data", "labels")


def _split(data: np.ndarray, labels: np.ndarray) -> Split:
    upright = 1 - data.reshape(-1, 28, 28).transpose(0, 2, 1).astype("float32")
    return Split(torch.from_numpy(np.ascontiguousarray(upright)), torch.from_numpy(labels.ravel().astype("int64") - 1))
