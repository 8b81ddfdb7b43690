"""Small data sets in the formats of the published files, so that a clone without data tests the readers too."""

import gzip
import hashlib
import io
import pickle
import random
import string
import struct
from dataclasses import replace

import numpy as np
from scipy.io import savemat

from pyrodgm.datasets import caltech101_silhouettes, frey_faces, mnist, omniglot, static_mnist, texts

SIZES = {"train": 60_000, "test": 10_000}  # those of the idx files, whose reader cuts them at fixed rows


def grey_bytes(count):
    """Images ``[count, 28, 28]`` of bytes, no two of a thousand alike, a fifth of the pixels not black."""
    image, pixel = np.arange(count, dtype=np.uint32)[:, None], np.arange(784, dtype=np.uint32)
    images = ((image * 7 + pixel * 13) % 251 + 5).astype(np.uint8)
    return np.where((image + pixel) % 5 == 0, images, 0).astype(np.uint8).reshape(-1, 28, 28)


def labels_of(count):
    return (np.arange(count) * 3 % 10).astype(np.uint8)


def faces():
    """Frames ``[1965, 28, 20]`` that differ from a middle grey by less than faces do."""
    return np.random.default_rng(1).normal(128, 25, (1965, 28, 20)).clip(0, 255).astype(np.uint8)


def silhouettes():
    """Upright white triangles of many sizes, ``[count, 28, 28]``, and their classes from 0."""
    size = np.arange(300) % 20 + 5
    row, column = np.mgrid[:28, :28]
    triangle = (row < size[:, None, None]) & (np.abs(column - 14) * 2 <= row)
    return triangle.astype(np.uint8), size % 7


def drawings():
    """Grey levels ``[2000, 28, 28]``, characters from 1 and drawers from 1, as in the reduced OMNIGLOT."""
    images = np.random.default_rng(2).integers(0, 256, (2000, 28, 28), dtype=np.uint8)
    return images, np.repeat(np.arange(1, 101), 20), np.tile(np.arange(1, 21), 100)


def text(count, seed):
    symbols = string.ascii_letters + " \n.,;:!?'-&$3"
    return "the " + "".join(random.Random(seed).choices(symbols, k=count))


def bits_rows(part):
    seed = {"train": 3, "valid": 4, "test": 5}[part]
    return np.random.default_rng(seed).integers(0, 2, ({"train": 30}.get(part, 10), 784))


def _idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def _amat(rows):
    return "".join(" ".join(map(str, row)) + "\n" for row in rows.tolist()).encode()


def _mat(**arrays):
    stream = io.BytesIO()
    savemat(stream, arrays)
    return stream.getvalue()


def _npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def contents():
    """Content of each file, by its name under the root."""
    white, classes = silhouettes()
    on_their_side = 1 - white.transpose(0, 2, 1).reshape(-1, 784)
    matlab = {}
    for part, rows in {"train": slice(0, 200), "val": slice(200, 250), "test": slice(250, 300)}.items():
        matlab |= {f"{part}_data": on_their_side[rows], f"{part}_labels": classes[rows, None] + 1}
    images, characters, drawers = drawings()
    files = {
        caltech101_silhouettes.FILE.name: _mat(**matlab),
        frey_faces.PICKLE.name: pickle.dumps([faces().reshape(-1, 560)], protocol=2),
        omniglot.NPZ.name: _npz(images=images, character_id=characters, drawer=drawers),
        texts.TINY_SHAKESPEARE.name: text(20_000, 1).encode(),
        texts.WAR_AND_PEACE.name: text(5000, 2).encode(),
        texts.TEXT8_PREFIX.name: text(4000, 3).encode(),
    }
    files |= {file.name: _amat(bits_rows(part)) for part, file in static_mnist.FILES.items()}
    files |= {file.name: f" {part} of it \n and more \n".encode() for part, file in texts.PTB.items()}
    return files


def digits():
    """Content of the files of MNIST, which are larger than the others and take seconds to make."""
    files = {}
    for part, count in SIZES.items():
        files[mnist.FILES["mnist"][f"{part}_images"].name] = _idx(grey_bytes(count))
        files[mnist.FILES["mnist"][f"{part}_labels"].name] = _idx(labels_of(count))
    return files


def write(root, files):
    """Write files under ``root``, packed where the published ones are; returns the MD5 of each content."""
    known = {}
    for name, content in files.items():
        packed = name.startswith(("mnist/", "binarized_mnist/"))
        path = root / (name + ".gz" * packed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content, 1) if packed else content)
        known[name] = hashlib.md5(content).hexdigest()
    return known


def accept(monkeypatch, known):
    """Let the readers take files with these checksums for the published ones."""

    def made(file):
        return replace(file, url="http://127.0.0.1:9/", content_md5=known.get(file.name, file.content_md5))

    for module, name in (
        (caltech101_silhouettes, "FILE"),
        (frey_faces, "PICKLE"),
        (omniglot, "NPZ"),
        (texts, "TINY_SHAKESPEARE"),
        (texts, "WAR_AND_PEACE"),
        (texts, "TEXT8_PREFIX"),
    ):
        monkeypatch.setattr(module, name, made(getattr(module, name)))
    for table in (mnist.FILES["mnist"], static_mnist.FILES, texts.PTB):
        for part, file in table.items():
            monkeypatch.setitem(table, part, made(file))
