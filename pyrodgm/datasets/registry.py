"""Data sets by name."""

import os
from collections.abc import Callable
from functools import partial

from pyrodgm.damaged_file import DamagedFileError
from pyrodgm.datasets.caltech101_silhouettes import load_caltech101_silhouettes
from pyrodgm.datasets.cifar10 import load_cifar10
from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.digits import load_digit_counts, load_digits
from pyrodgm.datasets.frey_faces import load_frey_faces
from pyrodgm.datasets.histopathology import load_histopathology
from pyrodgm.datasets.immune_cells import load_immune_cells
from pyrodgm.datasets.mnist import load_mnist
from pyrodgm.datasets.mnist_rotation import load_mnist_rotation
from pyrodgm.datasets.omniglot import load_omniglot_28x28, load_omniglot_burda
from pyrodgm.datasets.plucked_strings import load_plucked_strings
from pyrodgm.datasets.rotated_mnist import load_rotated_mnist
from pyrodgm.datasets.sentences import load_ptb_characters, load_ptb_words
from pyrodgm.datasets.static_mnist import load_static_mnist
from pyrodgm.datasets.svhn import load_svhn, load_svhn_pca
from pyrodgm.datasets.toy_sentences import load_toy_sentences

LOADERS: dict[str, Callable[[str | os.PathLike[str] | None], Dataset]] = {
    "caltech101_silhouettes": load_caltech101_silhouettes,
    "cifar10": load_cifar10,
    "digit_counts": load_digit_counts,
    "digits": load_digits,
    "fashion_mnist": partial(load_mnist, name="fashion_mnist"),
    "frey_faces": load_frey_faces,
    "grey_mnist": partial(load_mnist, grey=True),
    "histopathology": load_histopathology,
    "immune_cells": load_immune_cells,
    "kmnist": partial(load_mnist, name="kmnist"),
    "mnist": load_mnist,
    "mnist_rotation": load_mnist_rotation,
    "omniglot_28x28": load_omniglot_28x28,
    "omniglot_burda": load_omniglot_burda,
    "plucked_strings": load_plucked_strings,
    "ptb_characters": load_ptb_characters,
    "ptb_words": load_ptb_words,
    "rotated_mnist": load_rotated_mnist,
    "static_mnist": load_static_mnist,
    "svhn": load_svhn,
    "svhn_pca": load_svhn_pca,
    "toy_sentences": load_toy_sentences,
}


def load(name: str, root: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set by name.

    - `digits`: scikit-learn's scans, 8x8, 17 grey levels; 1,197 / 300 / 300 images to train, validate and test; dynamic
      binarisation; labels 0-9.
    - `digit_counts`: the same scans and splits as counts from 0 to 16, of the pixels of a block of 4x4 that are on.
    - `immune_cells`: transcripts of 500 genes in single cells, a sample that CellTypist ships; 359 / 100 / 100 counts.
    - `mnist`: LeCun and Cortes's, 28x28, 256 grey levels; 50,000 / 10,000 / 10,000; dynamic binarisation; labels 0-9.
    - `grey_mnist`: the same images and splits as they are, grey.
    - `rotated_mnist`: MNIST digits, half of them turned by random angles, 28x28; 70,000 / 10,000 / 20,000; grey;
      labels.
    - `mnist_rotation`: Larochelle's rotated MNIST, 28x28; 10,000 / 2,000 / 50,000; grey; labels 0-9.
    - `fashion_mnist`, `kmnist`: articles of clothing and cursive characters in the layout of MNIST, read like it.
    - `static_mnist`: Larochelle's binarised MNIST, 28x28; 50,000 / 10,000 / 10,000; fixed binarisation; no labels.
    - `omniglot_burda`: Burda's file of hand-written characters, 28x28; 23,000 / 1,345 / 8,070; dynamic binarisation;
      labels 0-1622.
    - `omniglot_28x28`: the same drawings reduced otherwise, 23,000 / 1,345 / 8,115: likelihoods do not compare.
    - `caltech101_silhouettes`: white outlines of objects, 28x28; 4,100 / 2,264 / 2,307; fixed binarisation; labels
      0-100.
    - `frey_faces`: frames of a video, 28x20, 256 grey levels; 1,565 / 200 / 200; no labels.
    - `histopathology`: patches of tissue, 28x28, 256 grey levels; 6,800 / 2,000 / 2,000; no labels.
    - `cifar10`: colour photographs, 3x32x32, 256 levels; 40,000 / 10,000 / 10,000; labels 0-9.
    - `svhn`: house numbers, one digit each, 3x32x32, 256 levels; 65,000 / 8,257 / 26,032; labels 0-9.
    - `plucked_strings`: sounds of a physical model, 512 values at 4 kHz, silence at 0.5; 8,000 / 1,000 / 1,000; grey;
      labels 0-24, the semitones from A2.
    - `ptb_words`, `ptb_characters`: sentences of Mikolov's Penn Treebank, 42,068 / 3,370 / 3,761, of up to 83 words or
      519 characters with the end; symbols.
    - `toy_sentences`: sentences of a small grammar, 4,000 / 500 / 500, of up to 10 words; symbols.
    - `svhn_pca`: its first 500 principal components; real values.

    Files are read from a folder of `root` for each, with `.gz` or without; a file that is missing there is downloaded
    if it has a public address. Its content must have the known checksum, where one is known, before any of it is used;
    of `fashion_mnist`, `kmnist` and `cifar10` that of the packed files is known, so that these must be there as they
    are published, with `.gz`.
    Splits and the binarisation of validation and test images come from fixed seeds; the global random state is neither
    read nor changed.

    Args:
        name: one of the names above.
        root: folder of the data; the default is the environment variable `PYRODGM_DATA`, else pyrodgm's cache folder.

    Returns:
        The data on the CPU, images as float32 `[N, D]` in [0, 1], or counts; symbols as int64.

    Raises:
        ValueError: `name` is unknown.
        DamagedFileError: a file is truncated or altered (both checksums are in the message) or cannot be verified; a
            ValueError too.
        FileNotFoundError: a file is missing and cannot be downloaded.

    Sources: Alpaydin and Kaynak (1998), UCI optical recognition of handwritten digits; LeCun, Bottou, Bengio and
    Haffner (1998); Xiao, Rasul and Vollgraf (2017), arXiv 1708.07747; Clanuwat et al. (2018), arXiv 1812.01718;
    Salakhutdinov and Murray (2008) and Larochelle and Murray (2011) for the fixed binarisation;
    Lake, Salakhutdinov and Tenenbaum (2015) and Burda, Grosse and Salakhutdinov (2015), arXiv 1509.00519; Marlin et al.
    (2010) for the silhouettes; Roweis, Saul and Hinton (2002) for the faces; Tomczak and Welling (2016), arXiv
    1611.09630, for the tissue; Krizhevsky (2009); Larochelle et al. (2007) for rotated digits; Netzer et al. (2011) for
    SVHN; Marcus et al. (1993) and Mikolov et al. (2010) for the Penn Treebank; Domínguez Conde et al.
    (2022), Science 376, eabl5197, for CellTypist.

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
    try:
        return LOADERS[name](root)
    except ValueError as error:
        raise DamagedFileError(f"data set {name!r}: {error}") from error
