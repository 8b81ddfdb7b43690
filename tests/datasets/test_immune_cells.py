"""Counts of single cells: the reader on a small table, and the file that CellTypist ships."""

import hashlib
from dataclasses import replace

import missing
import numpy as np
import pytest
import torch

from pyrodgm import datasets
from pyrodgm.datasets import immune_cells


def table(counts, names=None):
    """CSV as CellTypist writes it, with counts that are whole to rounding alone."""
    rows = [["", *(names or [f"G{i}" for i in range(counts.shape[1])])]]
    rows += [[f"Cell_{i}", *("0.999999999999999" if v == 1 else v for v in row)] for i, row in enumerate(counts)]
    return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


def test_genes_that_vary_most_are_kept_in_their_order(tmp_path, monkeypatch):
    """Of 600 genes a hundred hardly vary; what validation and test cells have counts nothing."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(4.0, (559, 600)) * rng.integers(0, 3, (559, 600))
    train, *others = datasets.split.shuffled(559, 0).split([359, 100, 100])
    still = rng.choice(600, 100, replace=False)
    counts[:, still] = 2
    counts[np.ix_(torch.cat(others), still)] *= 50
    content = table(counts)
    path = tmp_path / immune_cells.FILE.name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    monkeypatch.setattr(immune_cells, "FILE", replace(immune_cells.FILE, content_md5=hashlib.md5(content).hexdigest()))
    data = datasets.load("immune_cells", tmp_path)
    assert (data.values, data.binarization, data.image_shape) == ("counts", "none", (1, 20, 25))
    moving = np.setdiff1d(np.arange(600), still)
    for split, rows in zip((data.train, data.valid, data.test), (train, *others), strict=True):
        assert split.images.dtype == torch.float32
        np.testing.assert_array_equal(split.images, counts[np.ix_(rows, moving)])


@pytest.mark.parametrize("value", ["0.5", "-1", "nan", "inf"])
def test_other_values_than_counts_are_refused(value):
    with pytest.raises(ValueError, match="content: expected whole numbers from 0, got other values"):
        immune_cells.parse_cells(table(np.array([[1, 2]])).replace(b",2", b"," + value.encode()))


@pytest.mark.parametrize("content", [b"", b"name\n", b",A,B\n", b",A,B\nc,1\n", b",A\nc,x\n"])
def test_other_files_are_refused(content):
    with pytest.raises(ValueError, match=r"content: expected (names of genes|a number for each gene)"):
        immune_cells.parse_cells(content)


def test_a_missing_file_is_named_with_what_brings_it(tmp_path, monkeypatch):
    monkeypatch.setattr(immune_cells.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"sample_cell_by_gene\.csv is not in .*--no-deps celltypist brings it"):
        datasets.load("immune_cells", tmp_path)


def test_the_published_file(tmp_path):
    """The first cells alone are parsed: all of them take seconds."""
    if immune_cells.importlib.util.find_spec("celltypist") is None:
        pytest.skip(missing.library("--no-deps celltypist"))
    content = datasets.files.read(immune_cells.FILE, immune_cells._folder(tmp_path))
    lines = content.splitlines(keepends=True)
    assert len(lines) == 1 + sum(immune_cells.SIZES)
    counts = immune_cells.parse_cells(b"".join(lines[:21]))
    assert counts.shape == (20, 32_786)
    assert counts[:3].sum(1).tolist() == [17348, 15762, 9679]
