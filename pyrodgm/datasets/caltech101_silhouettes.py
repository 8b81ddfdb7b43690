"""Caltech 101 Silhouettes, from the MATLAB file with the split of the literature."""

import os

import numpy as np
import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import DataFile, read
from pyrodgm.datasets.matlab import parse_mat
from pyrodgm.datasets.split import Split

PARTS = ("train", "val", "test")
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
    content = parse_silhouettes(read(FILE, root))
    return Dataset.from_tensors(
        *(_split(content[f"{part}_data"], content[f"{part}_labels"]) for part in PARTS),
        name="caltech101_silhouettes",
        binarization="fixed",
    )


def parse_silhouettes(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of the MATLAB file: for each part `data`, `[N, 784]`, 0 or 1, and `labels`, `[N, 1]` from 1 to 101.

    Raises:
        ValueError: the content is anything else.
    """
    shapes: dict[str, tuple[int | str, ...]] = {}
    for part in PARTS:
        shapes |= {f"{part}_data": (f"{part}", 784), f"{part}_labels": (f"{part}", 1)}
    found = parse_mat(content, shapes)
    for part in PARTS:
        pixels, labels = found[f"{part}_data"], found[f"{part}_labels"]
        if not ((pixels == 0) | (pixels == 1)).all():
            raise ValueError(f"content: expected pixels 0 and 1 in {part}_data, got others")
        if not ((labels >= 1) & (labels <= 101) & (labels % 1 == 0)).all():
            raise ValueError(f"content: expected labels from 1 to 101 in {part}_labels, got others")
    return found


def _split(data: np.ndarray, labels: np.ndarray) -> Split:
    upright = 1 - data.reshape(-1, 28, 28).transpose(0, 2, 1).astype("float32")
    return Split(torch.tensor(upright, device="cpu"), torch.from_numpy(labels.ravel().astype("int64") - 1))
