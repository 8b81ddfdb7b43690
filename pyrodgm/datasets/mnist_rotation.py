"""Larochelle's rotated MNIST, from the archive in which it is published."""

import io
import os
import warnings
import zipfile

import numpy as np
import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import DataFile, read
from pyrodgm.datasets.resplit import rows
from pyrodgm.datasets.split import Split

NAMES = [f"mnist_all_rotation_normalized_float_{part}.amat" for part in ("train_valid", "test")]
RATIO = 64  # at most, of unpacked to packed bytes
TOLERANCE = 1e-5

MD5 = "0f9a947ff3d30e95cd685462cbf3b847"
ARCHIVE = DataFile(
    "mnist_rotation/mnist_rotation_new.zip",
    "http://www.iro.umontreal.ca/~lisa/icml2007data/mnist_rotation_new.zip",
    MD5,
    MD5,
)


def load_mnist_rotation(root: str | os.PathLike[str] | None = None) -> Dataset:
    """Larochelle's rotated MNIST, 10,000 / 2,000 / 50,000 grey images; the last 2,000 training images validate."""
    pool, test = parse_archive(read(ARCHIVE, root))
    train, valid = (rows(pool, part) for part in torch.arange(len(pool)).split([len(pool) - 2000, 2000]))
    return Dataset.from_tensors(train, valid, test, image_shape=(1, 28, 28), name="mnist_rotation")


def parse_archive(content: bytes) -> tuple[Split, Split]:
    """Images for training and validation, and for testing, from the zip archive.

    Raises:
        ValueError: the content is no such archive or is damaged, or what is in it has another layout.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sizes = [archive.getinfo(name).file_size for name in NAMES]
            texts = [archive.read(name) for name in NAMES] if sum(sizes) <= RATIO * len(content) else None
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(f"content: no zip archive, or a damaged one: {error or type(error).__name__}") from error
    if texts is None:
        raise ValueError(f"content: expected files of at most {RATIO} times the archive, got {sum(sizes):,} bytes")
    pool, test = (_parse(name, text) for name, text in zip(NAMES, texts, strict=True))
    return pool, test


def _parse(name: str, content: bytes) -> Split:
    """Lines of 784 grey values and a label."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            values = np.fromstring(content, dtype=np.float32, sep=" ")
        except (ValueError, DeprecationWarning):
            raise ValueError(f"content: expected numbers with blanks between them in {name}, got others") from None
    if not len(values) or len(values) % 785:
        raise ValueError(f"content: expected 785 numbers an image in {name}, got {len(values):,} in all")
    values = values.reshape(-1, 785)
    pixels, labels = values[:, :-1], values[:, -1]
    if not ((pixels >= -TOLERANCE) & (pixels <= 1.0 + TOLERANCE)).all() or not np.isin(labels, np.arange(10.0)).all():
        raise ValueError(f"content: expected grey values in [0, 1] and labels from 0 to 9 in {name}, got others")
    # Some values exceed 1 by a rounding error.
    images = torch.tensor(pixels, device="cpu").clamp_(0.0, 1.0)
    return Split(images, torch.from_numpy(labels.astype("int64")))
