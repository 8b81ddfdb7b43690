"""Data sets by name."""

import os
from collections.abc import Callable

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.digits import load_digits
from pyrodgm.datasets.mnist import load_mnist
from pyrodgm.datasets.static_mnist import load_static_mnist

LOADERS: dict[str, Callable[[str | os.PathLike[str] | None], Dataset]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "static_mnist": load_static_mnist,
}


def load(name: str, root: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set by name.

    - `digits`: scikit-learn's scans, 8x8, 17 grey levels; 1,197 / 300 / 300 images to train, validate and test; dynamic
      binarisation; labels 0-9.
    - `mnist`: LeCun and Cortes's, 28x28, 256 grey levels; 50,000 / 10,000 / 10,000; dynamic binarisation; labels 0-9.
    - `static_mnist`: Larochelle's binarised MNIST, 28x28; 50,000 / 10,000 / 10,000; fixed binarisation; no labels.

    Files are read from `root/mnist/` and `root/binarized_mnist/`, with `.gz` or without; a file that is missing there
    is downloaded. Its content must have the known MD5 before any of it is used. Splits and the binarisation of
    validation and test images come from fixed seeds; the global random state is neither read nor changed.

    Args:
        name: one of the names above.
        root: folder of the data; the default is the environment variable `PYRODGM_DATA`, else pyrodgm's cache folder.

    Returns:
        The data on the CPU, images as float32 `[N, D]` in [0, 1].

    Raises:
        ValueError: `name` is unknown, or a file is truncated or altered (both checksums are in the message).
        FileNotFoundError: a file is missing and cannot be downloaded.

    Sources: Alpaydin and Kaynak (1998), UCI optical recognition of handwritten digits; LeCun, Bottou, Bengio and
    Haffner (1998); Salakhutdinov and Murray (2008) and Larochelle and Murray (2011) for the fixed binarisation.

    >>> from pyrodgm.datasets import load
    >>> digits = load("digits")
    >>> digits.train
    Split(images=[1197, 64], labels=[1197])
    >>> digits.image_shape, digits.values, digits.binarization
    ((1, 8, 8), 'binary', 'dynamic')
    >>> digits.binarize(digits.train.images[:100]).unique().tolist()
    [0.0, 1.0]
    """
    if name not in LOADERS:
        raise ValueError(f"name: no data set {name!r}; known are {', '.join(sorted(LOADERS))}")
    return LOADERS[name](root)
