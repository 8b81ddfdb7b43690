"""MNIST from idx files, and whatever has its layout: 60,000 training and 10,000 test images of 28x28."""

import os

import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import DataFile, read
from pyrodgm.datasets.idx import parse_idx
from pyrodgm.datasets.split import Split

ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist/"

# A data set of the same layout is one more row here and one in registry.py.
FILES = {
    "mnist": {
        "train_images": DataFile(
            "mnist/train-images-idx3-ubyte",
            ADDRESS + "train-images-idx3-ubyte.gz",
            url_md5="f68b3c2dcbeaaa9fbdd348bbdeb94873",
            content_md5="6bbc9ace898e44ae57da46a324031adb",
        ),
        "train_labels": DataFile(
            "mnist/train-labels-idx1-ubyte",
            ADDRESS + "train-labels-idx1-ubyte.gz",
            url_md5="d53e105ee54ea40749a09fcbcd1e9432",
            content_md5="a25bea736e30d166cdddb491f175f624",
        ),
        "test_images": DataFile(
            "mnist/t10k-images-idx3-ubyte",
            ADDRESS + "t10k-images-idx3-ubyte.gz",
            url_md5="9fb629c4189551a2d022fa330f9573f3",
            content_md5="2646ac647ad5339dbf082846283269ea",
        ),
        "test_labels": DataFile(
            "mnist/t10k-labels-idx1-ubyte",
            ADDRESS + "t10k-labels-idx1-ubyte.gz",
            url_md5="ec29112dd5afa0611ce80d1b7f02629c",
            content_md5="27ae3e4e09519cfbb04c329615203637",
        ),
    },
}


def load_mnist(root: str | os.PathLike[str] | None = None, name: str = "mnist") -> Dataset:
    """MNIST, binarised anew for each batch; the last 10,000 training images validate."""
    arrays = {part: parse_idx(read(file, root)) for part, file in FILES[name].items()}

    def split(part: str, rows: slice) -> Split:
        images = torch.from_numpy(arrays[f"{part}_images"][rows].astype("float32")).div_(255)
        return Split(images, torch.from_numpy(arrays[f"{part}_labels"][rows].astype("int64")))

    return Dataset.from_tensors(
        split("train", slice(0, 50_000)),
        split("train", slice(50_000, 60_000)),
        split("test", slice(0, 10_000)),
        name=name,
        binarization="dynamic",
    )
