"""Frey Faces, from the pickle in which they are passed on or from an npz of the same bytes."""

import io
import os

import numpy as np
import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import DataFile, data_root, read
from pyrodgm.datasets.pickled import parse_pickle
from pyrodgm.datasets.split import shuffled

PICKLE = DataFile(
    "frey_faces/freyfaces.pkl",
    "https://raw.githubusercontent.com/jmtomczak/vae_vampprior/master/datasets/Freyfaces/freyfaces.pkl",
    url_md5="8db27fd8d4be5ade7bdb05b488ae8aa2",
    content_md5="8db27fd8d4be5ade7bdb05b488ae8aa2",
)
NPZ = DataFile("frey_faces/frey_faces.npz", None, content_md5="8e04202506dea573d984467bb83e3fa5")
SPLIT_SEED = 0


def load_frey_faces(root: str | os.PathLike[str] | None = None) -> Dataset:
    """1,965 frames of 28x20 of a video of one face, 256 grey levels: 1,565 / 200 / 200 in a fixed random order.

    Consecutive frames are near copies, so that most test images have a near copy among the training images; so it is
    in all published results on them. Values are v / 255, the grey levels of `DiscretizedLogistic`; a file of
    (v + 0.5) / 256, as in some publications, means the same levels v.
    """
    # Rows in the order of the video in both files; the npz, where it is there, needs no unpickling.
    if (data_root(root) / NPZ.name).exists():
        with np.load(io.BytesIO(read(NPZ, root)), allow_pickle=False) as arrays:
            pixels = arrays["images"]
    else:
        (pixels,) = parse_pickle(read(PICKLE, root))
    images = torch.tensor(pixels, dtype=torch.float32, device="cpu").div_(255).reshape(-1, 28, 20)
    train, valid, test = (images[rows] for rows in shuffled(len(images), SPLIT_SEED).split([1565, 200, 200]))
    return Dataset.from_tensors(train, valid, test, name="frey_faces", num_bins=256)
