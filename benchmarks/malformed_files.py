"""Malformed files for each reader of data sets: what comes of them, how long it takes and how much memory.

python benchmarks/malformed_files.py
"""

import io
import random
import struct
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import harness
import numpy as np
import tyro
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pyrodgm.datasets.amat import parse_amat
from pyrodgm.datasets.caltech101_silhouettes import parse_silhouettes
from pyrodgm.datasets.cifar10 import parse_archive, parse_batch
from pyrodgm.datasets.drawings import parse_drawings
from pyrodgm.datasets.idx import parse_idx
from pyrodgm.datasets.immune_cells import parse_cells
from pyrodgm.datasets.mnist_rotation import NAMES
from pyrodgm.datasets.mnist_rotation import parse_archive as parse_rotated
from pyrodgm.datasets.omniglot import parse_burda
from pyrodgm.datasets.pickled import parse_pickle
from pyrodgm.datasets.svhn import parse_svhn

MOST_BYTES, MOST_SECONDS = 64 << 20, 1.0  # over the size of the file
NUMBERS = (0, 1, 2, 4, 7, 8, 15, 127, 128, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


@dataclass(frozen=True)
class Config:
    """Give each reader malformed files; all but a ValueError or arrays is a fault."""

    examples: int = 2000
    """Files a reader."""
    json: str | None = None
    """File for the numbers."""


def mat(packed: bool, **arrays: np.ndarray) -> bytes:
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, arrays, do_compression=packed)
    return file.getvalue()


def drawings() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in (1, 2):
            archive.writestr(f"images/{number:04d}_01.png", one_bit(np.eye(105, dtype=bool)))
    return file.getvalue()


def cifar_archive() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = 3073
            archive.addfile(member, io.BytesIO(bytes([7, *(3072 * [9])])))
    return file.getvalue()


def rotated_archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        line = " ".join(f"{i / 784:.9e}" for i in range(784)) + " 7.0\n"
        for name in NAMES:
            archive.writestr(name, line * 3)
    return file.getvalue()


def one_bit(ink: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(~ink).convert("1").save(file, format="png")
    return file.getvalue()


def whole_files() -> dict[str, tuple[Callable[[bytes], Any], list[bytes]]]:
    """Each reader with small files that are right."""
    import pickle

    x, y = np.arange(3072 * 2, dtype=np.uint8).reshape(32, 32, 3, 2), np.array([[1], [10]], dtype=np.uint8)
    silhouettes = {}
    for part in ("train", "val", "test"):
        silhouettes |= {f"{part}_data": np.eye(2, 784, dtype=np.uint8), f"{part}_labels": np.ones((2, 1))}
    burda = {}
    for part in ("", "test"):
        burda |= {f"{part}data": np.eye(784, 2), f"{part}target": np.eye(50, 2), f"{part}targetchar": np.ones((1, 2))}
    array = [np.arange(20, dtype=np.float32).reshape(4, 5)]
    return {
        "idx": (parse_idx, [bytes([0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 4, *range(12)])]),
        "amat": (partial(parse_amat, columns=8), [b"0 1 1 0 0 1 0 1\n" * 4]),
        "CIFAR batch": (parse_batch, [bytes([7, *(3072 * [9])]) * 2]),
        "SVHN": (parse_svhn, [mat(packed, X=x, y=y) for packed in (True, False)]),
        "silhouettes": (parse_silhouettes, [mat(packed, **silhouettes) for packed in (True, False)]),
        "Burda's OMNIGLOT": (parse_burda, [mat(packed, **burda) for packed in (True, False)]),
        "CIFAR archive": (parse_archive, [cifar_archive()]),
        "rotated MNIST": (parse_rotated, [rotated_archive()]),
        "table of cells": (parse_cells, [b",A,B,C\n" + b"cell,0,0.0,2.0\n" * 4]),
        "drawings": (parse_drawings, [drawings()]),
        "pickle": (parse_pickle, [pickle.dumps(array, protocol=protocol) for protocol in range(5)]),
    }


def spoilt(whole: bytes, seed: int) -> bytes:
    """A file with up to four of its parts replaced, cut out, doubled, swapped or cut off."""
    draw = random.Random(seed)
    content = bytearray(whole)
    for _ in range(draw.randint(1, 4)):
        near = draw.random() < 0.6  # headers are short, values long
        at = draw.randrange(min(len(content), 300) if near else len(content)) if content else 0
        length = draw.choice([1, 2, 4, 8, draw.randrange(1, 200)])
        how = draw.randrange(7)
        if how == 0:
            content[at : at + 1] = bytes([draw.randrange(256)])
        elif how == 1:
            content[at : at + 4] = struct.pack(draw.choice(["<I", ">I"]), draw.choice(NUMBERS))
        elif how == 2:
            del content[at : at + length]
        elif how == 3:
            content[at:at] = content[at : at + length] * draw.choice([1, 1, 50])
        elif how == 4:
            content[at : at + length] = draw.randbytes(length)
        elif how == 5:
            del content[at:]
        else:
            content[at : at + 1] = bytes([content[at] ^ (1 << draw.randrange(8))]) if at < len(content) else b""
    return bytes(content)


@dataclass
class Found:
    """What came of the files of one reader."""

    refused: int = 0
    read: int = 0
    seconds: float = 0.0
    bytes: int = 0
    faults: tuple[str, ...] = ()


def attempt(read: Callable[[bytes], Any], content: bytes, found: Found) -> None:
    """Read one file and note what comes of it."""
    tracemalloc.reset_peak()
    before, began = tracemalloc.get_traced_memory()[0], time.perf_counter()
    fault = None
    try:
        read(content)
        found.read += 1
    except ValueError as error:
        found.refused += 1
        if not str(error).startswith("content: "):
            fault = f"ValueError: {error}"
    except BaseException as error:
        fault = f"{type(error).__name__}: {error}"
    seconds, grown = time.perf_counter() - began, tracemalloc.get_traced_memory()[1] - before
    found.seconds, found.bytes = max(found.seconds, seconds), max(found.bytes, grown - len(content))
    if grown - len(content) > MOST_BYTES:
        fault = f"{grown:,} bytes of memory for a file of {len(content):,}"
    if seconds > MOST_SECONDS:
        fault = f"{seconds:.1f} seconds for a file of {len(content):,} bytes"
    if fault is not None and fault not in found.faults:
        found.faults += (fault,)


def try_reader(name: str, examples: int) -> Found:
    """Give one reader so many malformed files, the same ones each time."""
    read, whole = whole_files()[name]
    for content in whole:  # right files are read, and what is imported for it is
        read(content)
    found = Found()

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(whole), st.integers(0, 2**32 - 1))
    def run(content: bytes, seed: int) -> None:
        attempt(read, spoilt(content, seed), found)

    tracemalloc.start()
    try:
        run()
    finally:
        tracemalloc.stop()
    return found


def main(config: Config) -> None:
    print(harness.describe_machine("cpu"))
    print("\n| reader | refused | read | longest s | most MB over the file | faults |\n|---|---|---|---|---|---|")
    rows = {}
    for name in whole_files():
        found = try_reader(name, config.examples)
        rows[name] = vars(found)
        numbers = f"{found.refused} | {found.read} | {found.seconds:.2f} | {found.bytes / 2**20:.1f}"
        print(f"| {name} | {numbers} | {len(found.faults)} |")
        for fault in found.faults:
            print(f"  {fault}")
    harness.write_json(config.json, rows)


if __name__ == "__main__":
    main(tyro.cli(Config))
