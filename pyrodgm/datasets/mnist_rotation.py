"""Larochelle's rotated MNIST, from the archive in which it is published."""

import io
import os
import zipfile

import numpy as np
import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import DataFile, read
from pyrodgm.datasets.resplit import rows
from pyrodgm.datasets.split import Split

MD5 = "0f9a947ff3d30e95cd685462cbf3b847"
ARCHIVE = DataFile(
    "mnist_rotation/mnist_rotation_new.zip",
    "http://www.iro.umontreal.ca/~lisa/icml2007data/mnist_rotation_new.zip",
    MD5,
    MD5,
)


def load_mnist_rotation(root: str | os.PathLike[str] | None = None) -> Dataset:
    """Larochelle's rotated MNIST, 10,000 / 2,000 / 50,000 grey images; the last 2,000 training images validate."""
    with zipfile.ZipFile(io.BytesIO(read(ARCHIVE, root))) as archive:
        pool, test = (
            _parse(archive.read(f"mnist_all_rotation_normalized_float_{part}.amat")) for part in ("train_valid", "test")
        )
    train, valid = (rows(pool, part) for part in torch.arange(len(pool)).split([len(pool) - 2000, 2000]))
    return Dataset.from_tensors(train, valid, test, image_shape=(1, 28, 28), name="mnist_rotation")


def _parse(content: bytes) -> Split:
    """Lines of 784 grey values and a label."""
    values = np.fromstring(content, dtype=np.float32, sep=" ").reshape(-1, 785)
    # Some values exceed 1 by a rounding error.
    images = torch.from_numpy(values[:, :-1].copy()).clamp_(0.0, 1.0)
    return Split(images, torch.from_numpy(values[:, -1].astype("int64")))
