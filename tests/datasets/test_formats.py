"""The formats against readers written otherwise."""

import gzip
import struct

import numpy as np
import pytest

from pyrodgm.datasets.amat import parse_amat
from pyrodgm.datasets.idx import parse_idx


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (0, 28, 28)])
def test_idx_round_trip(shape):
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    content = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + values.tobytes()
    np.testing.assert_array_equal(parse_idx(content), values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an idx file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "begins with 00 00 0d 01"),
        (b"\x1f\x8b\x08\x00", "begins with 1f 8b 08 00"),
        (b"\0\0\x08\x03\0\0\0\x01", "header of 16 bytes is cut off at 8"),
        (b"\0\0\x08\x01\0\0\0\x03ab", r"shape \[3\], but 2 values follow"),
        (b"\0\0\x08\x01\0\0\0\x03abcd", r"shape \[3\], but 4 values follow"),
    ],
)
def test_idx_of_another_layout(content, message):
    with pytest.raises(ValueError, match=message):
        parse_idx(content)


def test_amat_against_loadtxt(data_root):
    path = data_root / "binarized_mnist" / "binarized_mnist_test.amat.gz"
    content = gzip.decompress(path.read_bytes())
    rows = parse_amat(content, 784)
    assert rows.shape == (10_000, 784)
    np.testing.assert_array_equal(rows[:300], np.loadtxt(path, max_rows=300))
    np.testing.assert_array_equal(rows[-300:], np.loadtxt(content[-300 * 1568 :].splitlines()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"0 1 1\n1 0\n", "10 bytes are no multiple"),
        (b"0 1 1\r\n", "7 bytes are no multiple"),
        (b"0 1 1\n1 2 0\n", "line 2 has"),
        (b"0 1 1\n1 . 0\n", "line 2 has"),
        (b"0 1 1\n1 0,0\n", "line 2 has"),
        (b"0 1 1 1 0 0\n", "line 1 has"),
        (b"0.0 1\n", "line 1 has"),
    ],
)
def test_amat_of_another_layout(content, message):
    with pytest.raises(ValueError, match=message):
        parse_amat(content, 3)


@pytest.mark.parametrize("shape", [[0] * 33, [0] + [2**32 - 1] * 4, [1] * 33])
def test_an_idx_header_that_no_array_can_have(shape):
    content = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4) for size in shape) + bytes(1)
    with pytest.raises(ValueError, match="content: the idx header gives the shape"):
        parse_idx(content)
