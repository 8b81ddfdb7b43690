"""MNIST from idx files, and whatever has its layout: 60,000 training and 10,000 test images of 28x28."""

import os

import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import DataFile, read
from pyrodgm.datasets.idx import parse_idx
from pyrodgm.datasets.split import Split

ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist/"

NAMES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def _files(folder: str, address: str, url_md5: list[str], content_md5: list[str | None]) -> dict[str, DataFile]:
    checksums = zip(url_md5, content_md5, strict=True)
    return {
        part: DataFile(f"{folder}/{name}", f"{address}{name}.gz", *known)
        for (part, name), known in zip(NAMES.items(), checksums, strict=True)
    }


# A data set of the same layout is one more row here and one in registry.py; checksums in the order of NAMES.
FILES = {
    "mnist": _files(
        "mnist",
        ADDRESS,
        [
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ],
        [
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ],
    ),
    "fashion_mnist": _files(
        "fashion_mnist",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        [
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ],
        [None] * 4,
    ),
    "kmnist": _files(
        "kmnist",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        [
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ],
        [None] * 4,
    ),
}


def load_mnist(root: str | os.PathLike[str] | None = None, name: str = "mnist", grey: bool = False) -> Dataset:
    """Images in the layout of MNIST, binarised for each batch or grey; the last 10,000 training images validate."""
    arrays = {part: parse_idx(read(file, root)) for part, file in FILES[name].items()}

    def split(part: str, rows: slice) -> Split:
        images = torch.tensor(arrays[f"{part}_images"][rows], dtype=torch.float32, device="cpu").div_(255)
        return Split(images, torch.from_numpy(arrays[f"{part}_labels"][rows].astype("int64")))

    return Dataset.from_tensors(
        split("train", slice(0, 50_000)),
        split("train", slice(50_000, 60_000)),
        split("test", slice(0, 10_000)),
        name=f"grey_{name}" if grey else name,
        binarization="none" if grey else "dynamic",
        num_bins=256 if grey else None,
    )
