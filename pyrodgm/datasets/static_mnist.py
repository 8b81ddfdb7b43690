"""MNIST in Larochelle's fixed binarisation, from amat files."""

import os

import torch

from pyrodgm.datasets.amat import parse_amat
from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import DataFile, read

ADDRESS = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"

MD5 = {
    "train": "db28b1a6ae0fe70cbd3da91acf46e477",
    "valid": "bf37822a04e94123630de6a7dfd9c9ef",
    "test": "14e41ae11040adba6ab8cb291eda0dd8",
}

# The address gives plain text, so that one checksum is that of the download and of the content.
FILES = {
    part: DataFile(f"binarized_mnist/binarized_mnist_{part}.amat", f"{ADDRESS}binarized_mnist_{part}.amat", md5, md5)
    for part, md5 in MD5.items()
}


def load_static_mnist(root: str | os.PathLike[str] | None = None) -> Dataset:
    """Larochelle's binarised MNIST, 50,000 / 10,000 / 10,000 images; its test rows are in class order."""

    def images(part: str) -> torch.Tensor:
        return torch.tensor(parse_amat(read(FILES[part], root), columns=784), dtype=torch.float32, device="cpu")

    return Dataset.from_tensors(
        images("train"),
        images("valid"),
        images("test"),
        name="static_mnist",
        image_shape=(1, 28, 28),
        binarization="fixed",
    )
