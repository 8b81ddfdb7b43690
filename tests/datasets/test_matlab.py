"""The reader of MATLAB files against scipy's, and what it refuses."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from pyrodgm.datasets.matlab import parse_mat


def stored(packed=True, **arrays):
    file = io.BytesIO()
    savemat(file, arrays, do_compression=packed)
    return file.getvalue()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_arrays_of_all_types_are_those_that_scipy_reads(dtype, packed):
    array = (np.random.default_rng(0).random((3, 4, 2)) * 100).astype(dtype)
    content = stored(packed, x=array, a_longer_name=array[0], other="text", cells=np.array([{}, 1], object), one=7)
    shapes = {"x": (3, 4, 2), "a_longer_name": (4, "N"), "one": (1, 1)}
    found, expected = parse_mat(content, shapes), loadmat(io.BytesIO(content))
    assert set(found) == set(shapes)
    for name, value in found.items():
        assert value.dtype == expected[name].dtype
        np.testing.assert_array_equal(value, expected[name])


def element(order, kind, data):
    return struct.pack(f"{order}II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def matrix(order, shape, values, kind=9, name=b"x", flags=6):
    sizes = struct.pack(f"{order}{len(shape)}i", *shape)
    parts = ((6, struct.pack(f"{order}II", flags, 0)), (5, sizes), (1, name), (kind, values))
    return element(order, 14, b"".join(element(order, *part) for part in parts))


def file(order, *elements):
    return b" " * 124 + (b"\0\1IM" if order == "<" else b"\1\0MI") + b"".join(elements)


@pytest.mark.parametrize("order", "<>")
def test_both_orders_of_bytes(order):
    values = np.arange(6, dtype=f"{order}f8")
    content = file(order, matrix(order, [3, 2], values.tobytes()))
    expected = np.arange(6.0).reshape(3, 2, order="F")
    np.testing.assert_array_equal(parse_mat(content, {"x": (3, 2)})["x"], expected)
    np.testing.assert_array_equal(loadmat(io.BytesIO(content))["x"], expected)


EIGHT = np.arange(8.0).tobytes()
WHOLE = matrix("<", [4, 2], EIGHT)
SIX_BYTES_OF_SIZES = WHOLE.replace(struct.pack("<II", 5, 8), struct.pack("<II", 5, 6))
IN_THE_TAG = WHOLE.replace(struct.pack("<II", 9, 64), struct.pack("<II", 64 << 16 | 9, 0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM", "expected a MATLAB file of version 5"),
        (b"", "expected a MATLAB file of version 5"),
        (file("<"), r"expected the arrays x \[N, N\], got {}"),
        (file("<", matrix("<", [4, 2], EIGHT)), r"got {'x': 'float64\[4, 2\]'}"),
        (file("<", matrix("<", [8], EIGHT)), r"got {'x': 'float64\[8\]'}"),
        (file("<", matrix("<", [2, -4], EIGHT)), r"damaged: x has the shape \[2, -4\]"),
        (file("<", matrix("<", [2**31 - 1, 2**31 - 1], EIGHT)), "damaged: 64 bytes for x of the shape"),
        (file("<", matrix("<", [2] * 9, EIGHT)), "damaged: an element of the type 5, 36 bytes"),
        (file("<", matrix("<", [4, 2], EIGHT, kind=18)), "damaged: x has values of the type 18"),
        (file("<", matrix("<", [4, 2], EIGHT, flags=1)), "expected an array of real numbers for x, got the class 1"),
        (file("<", matrix("<", [4, 2], EIGHT, flags=6 | 0x800)), "expected an array of real numbers for x"),
        (file("<", matrix("<", [4, 2], EIGHT)[:-8]), "damaged: .* bytes at 136 of"),
        (file("<", matrix("<", [4, 2], EIGHT, name=b"\xff")), "damaged: 'ascii' codec"),
        (file("<", SIX_BYTES_OF_SIZES), "damaged: 6 bytes for sizes of 4 bytes each"),
        (file("<", IN_THE_TAG), "damaged: 64 bytes in an element of at most 4"),
        (file("<", element("<", 15, b"no stream")), "damaged: Error -3 while decompressing"),
        (file("<", element("<", 15, zlib.compress(matrix("<", [2, 2], EIGHT)[:40]))), "damaged: .* should follow"),
    ],
)
def test_what_is_no_such_file_is_refused(content, message):
    with pytest.raises(ValueError, match=f"content: .*{message}"):
        parse_mat(content, {"x": ("N", "N")})


@pytest.mark.slow
def test_no_more_is_unpacked_than_the_header_announces():
    bomb = matrix("<", [2, 2], np.zeros(4).tobytes()) + b"\0" * 200_000_000
    content = file("<", element("<", 15, zlib.compress(bomb)))
    del bomb
    tracemalloc.start()
    try:
        found = parse_mat(content, {"x": (2, 2)})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found["x"], np.zeros((2, 2)))
    assert peak < 1 << 22
