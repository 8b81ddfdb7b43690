"""Grey histopathology patches, from the pickle of the authors of the Householder flow."""

import io
import os
import tarfile

import numpy as np
import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import DataFile, data_root, find, read
from pyrodgm.datasets.pickled import parse_pickle

ADDRESS = "https://raw.githubusercontent.com/jmtomczak/vae_householder_flow/master/datasets/histopathologyGray/"

# No checksum of either is known, so that counts, shape and range are checked instead.
ARCHIVE = DataFile("histopathology/histopathology.pkl.tar", ADDRESS + "histopathology.pkl.tar.gz")
PICKLE = DataFile("histopathology/histopathology.pkl", None)
SIZES = {"training": 6800, "validation": 2000, "test": 2000}


def load_histopathology(root: str | os.PathLike[str] | None = None) -> Dataset:
    """Patches of 28x28 of stained lymph nodes, 256 grey levels: 6,800 / 2,000 / 2,000 as the file has them.

    The file holds values in [0, 1]; a value x is taken as the grey level floor(256 x), as in publications.

    Raises:
        ValueError: the file holds anything else; names it.
    """
    file = PICKLE if find(PICKLE, root) else ARCHIVE
    content = read(file, root)
    try:
        arrays = parse_pickle(content if file is PICKLE else _pickle_in(content))
        parts = [_images(arrays, part, size) for part, size in SIZES.items()]
    except Exception as error:  # without a checksum it can be anything, and raise anything
        path = find(file, root) or data_root(root) / file.name
        raise ValueError(f"{path} does not hold the patches: {error or type(error).__name__}") from error
    return Dataset.from_tensors(*parts, name="histopathology", num_bins=256)


def _pickle_in(archive: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        name = os.path.basename(PICKLE.name)
        members = [member for member in tar if member.isfile() and os.path.basename(member.name) == name]
        if len(members) != 1:
            raise ValueError(f"expected one {name} in the archive, got {len(members)}")
        return tar.extractfile(members[0]).read()  # type: ignore[union-attr]


def _images(arrays: object, part: str, size: int) -> torch.Tensor:
    if not isinstance(arrays, dict) or part not in arrays:
        raise ValueError(f"expected a dictionary with {', '.join(SIZES)}, got {type(arrays).__name__}")
    values = np.asarray(arrays[part])
    if values.size != size * 784:
        raise ValueError(f"expected {size} patches of 28x28 for {part}, got the shape {values.shape}")
    values = values.reshape(size, 28, 28)
    if values.dtype != np.uint8:
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"expected values in [0, 1] for {part}, got others")
        values = np.minimum(np.floor(256 * values.astype("float64")), 255)
    return torch.tensor(values, dtype=torch.float32, device="cpu").div_(255)
