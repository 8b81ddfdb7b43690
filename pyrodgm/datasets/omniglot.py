"""OMNIGLOT at 28x28: Burda's file, and a reduction of the original drawings."""

import hashlib
import io
import os

import numpy as np
import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.drawings import parse_drawings
from pyrodgm.datasets.files import DataFile, data_root, read
from pyrodgm.datasets.matlab import parse_mat
from pyrodgm.datasets.split import Split, shuffled

BURDA = DataFile(
    "omniglot/chardata.mat",
    "https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/chardata.mat",
    git_blob="016a3536ffe5e1d38e42563a18d7a78bfaf643ec",
)
NPZ = DataFile("omniglot/omniglot_28x28.npz", None, content_md5="e8931b30dce7a9748fecd611224e7e67")
DRAWINGS_ADDRESS = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
DRAWINGS = [
    DataFile(
        "omniglot/images_background.zip", DRAWINGS_ADDRESS + "images_background.zip", "68d2efa1b9178cc56df9314c21c6e718"
    ),
    DataFile(
        "omniglot/images_evaluation.zip", DRAWINGS_ADDRESS + "images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811"
    ),
]
IMAGES_MD5 = "8d1812eec592bb4a69c0334d5b43ef49"
VALIDATION = 1345
SPLIT_SEED = 123


def load_omniglot_burda(root: str | os.PathLike[str] | None = None) -> Dataset:
    """OMNIGLOT as reduced by Burda et al., the file of the literature: 23,000 / 1,345 / 8,070.

    Binarised anew for each batch; the last 1,345 of the shuffled training part validate; labels are the characters.
    The file has one image a column, column by column; the images here are upright.
    """
    content = parse_burda(read(BURDA, root))

    def characters(part: str) -> np.ndarray:
        return 1000 * content[f"{part}target"].argmax(0) + content[f"{part}targetchar"].ravel()

    labels = np.unique(np.concatenate([characters(""), characters("test")]), return_inverse=True)[1]
    images = np.concatenate([content["data"].T, content["testdata"].T]).astype("float32")
    images = np.ascontiguousarray(images.reshape(-1, 28, 28).transpose(0, 2, 1))
    return _dataset("omniglot_burda", images, labels.astype("int64"), content["data"].shape[1])


def parse_burda(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of Burda's MATLAB file, for training and (`test...`) test images.

    `data`, `[784, N]` in [0, 1]; `target`, `[50, N]`, of which one is 1, the alphabet; `targetchar`, `[1, N]`, the
    number of the character in it, below 1000.

    Raises:
        ValueError: the content is anything else.
    """
    shapes: dict[str, tuple[int | str, ...]] = {}
    for part, count in (("", "N"), ("test", "M")):
        shapes |= {f"{part}data": (784, count), f"{part}target": (50, count), f"{part}targetchar": (1, count)}
    found = parse_mat(content, shapes)
    for name, values in found.items():
        most = 999 if name.endswith("targetchar") else 1
        if not ((values >= 0) & (values <= most)).all():
            raise ValueError(f"content: expected values from 0 to {most} in {name}, got others")
    return found


def load_omniglot_28x28(root: str | os.PathLike[str] | None = None) -> Dataset:
    """OMNIGLOT with the drawings averaged over squares of 3.75x3.75 pixels: 23,000 / 1,345 / 8,115.

    Drawers 1 to 15 of every character train, with 1,345 random drawings of theirs set aside to validate; drawers 16 to
    20 test. Binarised anew for each batch; labels are the characters, 0-1622. Pixels, counts and split differ from
    those of `omniglot_burda`, so that likelihoods do not compare. Reduced from the original drawings, which are
    downloaded, unless the file `omniglot/omniglot_28x28.npz` of the reduced ones is there.
    """
    images, character, drawer = _npz(root) if (data_root(root) / NPZ.name).exists() else _drawings(root)
    order, count = np.argsort(drawer > 15, kind="stable"), int((drawer <= 15).sum())
    return _dataset("omniglot_28x28", images[order].astype("float32") / 255, character[order] - 1, count)


def _npz(root: str | os.PathLike[str] | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.load(io.BytesIO(read(NPZ, root)), allow_pickle=False) as arrays:
        return arrays["images"], arrays["character_id"].astype("int64"), arrays["drawer"]


def _drawings(root: str | os.PathLike[str] | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts = [parse_drawings(read(file, root)) for file in DRAWINGS]
    images, character, drawer = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    found = hashlib.md5(images.tobytes(), usedforsecurity=False).hexdigest()
    if found != IMAGES_MD5:
        raise ValueError(f"the reduced drawings should have the MD5 {IMAGES_MD5}, found {found}")
    return images, character, drawer


def _dataset(name: str, images: np.ndarray, labels: np.ndarray, count: int) -> Dataset:
    """The first `count` images shuffled and cut into training and validation images, the others to test."""
    order = shuffled(count, SPLIT_SEED)
    parts = (*order.split([count - VALIDATION, VALIDATION]), torch.arange(count, len(images)))
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    return Dataset.from_tensors(*(Split(x[rows], y[rows]) for rows in parts), name=name, binarization="dynamic")
