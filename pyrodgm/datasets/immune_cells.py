"""Counts of transcripts in single immune cells, from a file that CellTypist ships."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import torch

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import DataFile, find, read
from pyrodgm.datasets.split import Split, shuffled

FILE = DataFile("celltypist/data/samples/sample_cell_by_gene.csv", None, content_md5="732b106d9dc76771fb381696ed8bbb40")
SIZES, SPLIT_SEED = (359, 100, 100), 0
GENES, WIDTH = 500, 25  # of the genes that vary most, and of a row of their picture


def load_immune_cells(root: str | os.PathLike[str] | None = None) -> Dataset:
    """Transcripts of 500 genes in 559 human immune cells, 359 / 100 / 100: a sample that CellTypist ships (MIT).

    `pip install --no-deps celltypist` brings the file, of which nothing else is used; it may as well lie below `root`.
    Cells are shuffled by a fixed seed. The genes are those of 32,786 whose logarithmic
    profile, log(1 + share of the cell's transcripts times the median number of transcripts), has the largest variance
    over the training cells.
    """
    try:
        content = read(FILE, _folder(root))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; pip install --no-deps celltypist brings it") from error
    counts = parse_cells(content)
    parts = shuffled(len(counts), SPLIT_SEED).split(SIZES)
    kept = _variable_genes(counts[parts[0].numpy()])
    train, valid, test = (Split(torch.from_numpy(counts[rows.numpy()][:, kept])) for rows in parts)
    shape = (1, GENES // WIDTH, WIDTH)
    return Dataset("immune_cells", train, valid, test, image_shape=shape, values="counts", binarization="none")


def parse_cells(content: bytes) -> np.ndarray:
    """Counts `[cells, genes]`, float32, of a table in CSV: a row of names of genes, then a row a cell, its name first.

    Raises:
        ValueError: the content is no such table, or holds other values than whole numbers from 0.
    """
    names, *rows = content.splitlines() or [b""]
    columns = range(1, names.count(b",") + 1)
    if not columns or not any(rows):
        raise ValueError("content: expected names of genes and rows of counts, got none")
    try:
        counts = np.loadtxt(rows, np.float32, comments=None, delimiter=",", usecols=columns, ndmin=2)
    except ValueError as error:
        raise ValueError(f"content: expected a number for each gene: {error}") from error
    whole = counts.round()  # some of them were written as 0.999999999999999
    if not np.isfinite(counts).all() or counts.min() < 0 or np.abs(counts - whole).max() > 1e-4:
        raise ValueError("content: expected whole numbers from 0, got other values")
    return whole


def _folder(root: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """The root where the file lies below it, else the folder of installed packages."""
    package = importlib.util.find_spec("celltypist")
    if package is None or package.origin is None or find(FILE, root) is not None:
        return root
    return Path(package.origin).parents[1]


def _variable_genes(counts: np.ndarray) -> np.ndarray:
    """The columns of largest variance in logarithmic profiles, in increasing order."""
    sizes = counts.sum(1, dtype=np.float64)
    profiles = np.log1p(counts * (np.median(sizes) / sizes)[:, None])
    return np.sort(np.argsort(profiles.var(0), kind="stable")[-GENES:])
