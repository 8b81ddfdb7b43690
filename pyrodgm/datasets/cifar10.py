"""CIFAR-10, from the archive of the binary version."""

import io
import os
import tarfile

import numpy as np
import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import DataFile, read
from pyrodgm.datasets.split import Split

FILE = DataFile(
    "cifar10/cifar-10-binary.tar",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    url_md5="c32a1d4ab5d03f1284b67883e8d87530",
)
PARTS = {
    "train": [f"data_batch_{i}.bin" for i in range(1, 5)],
    "valid": ["data_batch_5.bin"],
    "test": ["test_batch.bin"],
}


def load_cifar10(root: str | os.PathLike[str] | None = None) -> Dataset:
    """Colour photographs of 32x32, 256 levels a channel: 40,000 / 10,000 / 10,000, the fifth batch validates."""
    batches = parse_archive(read(FILE, root))

    def split(names: list[str]) -> Split:
        images, labels = (np.concatenate(arrays) for arrays in zip(*(batches[name] for name in names), strict=True))
        return Split(
            torch.tensor(images, dtype=torch.float32, device="cpu").div_(255), torch.from_numpy(labels.astype("int64"))
        )

    return Dataset.from_tensors(*(split(names) for names in PARTS.values()), name="cifar10", num_bins=256)


def parse_archive(content: bytes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The batches of a tar archive by their names, as :func:`parse_batch` gives them.

    Raises:
        ValueError: the content is no such archive or is damaged, or lacks a batch.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            # A sparse member could claim any size.
            members = [m for m in archive if m.isfile() and not m.issparse() and m.size <= len(content)]
            found = {os.path.basename(m.name): archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(f"content: no tar archive, or a damaged one: {error or type(error).__name__}") from error
    missing = [name for names in PARTS.values() for name in names if name not in found]
    if missing:
        raise ValueError(f"content: expected {', '.join(missing)} in the archive, got {', '.join(found) or 'no files'}")
    return {name: parse_batch(found[name]) for names in PARTS.values() for name in names}


def parse_batch(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images `[N, 3, 32, 32]` and labels `[N]`, uint8, from a batch: a label and 3,072 channel-major values an image.

    Raises:
        ValueError: the size is no multiple of 3,073 bytes, or a label is above 9.

    >>> images, labels = parse_batch(bytes([7] + 3072 * [255]))
    >>> images.shape, labels
    ((1, 3, 32, 32), array([7], dtype=uint8))
    """
    if len(content) % 3073:
        raise ValueError(f"content: expected 3073 bytes an image; {len(content)} bytes are no multiple of that")
    rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, 3073)
    if (rows[:, 0] > 9).any():
        raise ValueError(f"content: expected labels from 0 to 9, got {rows[:, 0].max()}")
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
