"""Arrays of numbers from MATLAB files of version 5, checked as they are read.

scipy's reader takes sizes in the file on trust and can end the process on a damaged one; this one reads the few kinds
of element that numeric arrays need, and unpacks no more than the header of an array announces.
"""

import math
import struct
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

HEADER = 128
COMPRESSED, MATRIX, INT32, UINT32 = 15, 14, 5, 6  # types of elements
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMERIC = range(6, 16)  # classes of arrays, without cells, structures, objects, texts and sparse ones
COMPLEX = 0x0800
NAME, DIMENSIONS = 63, 8  # the most that are read of them

Shape = tuple[int | str, ...]


def parse_mat(content: bytes, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """Numeric arrays of a MATLAB file by name, in the types in which they are stored.

    Args:
        content: a file of MATLAB 5 to 7.2.
        shapes: names of the arrays wanted and their shapes, whose letters stand for sizes that must agree.

    Raises:
        ValueError: the content is no such file or is damaged, or an array is missing or has another shape.

    >>> import io
    >>> from scipy.io import savemat
    >>> savemat(file := io.BytesIO(), {"x": np.eye(2)}, do_compression=True)
    >>> parse_mat(file.getvalue(), {"x": ("N", "N")})
    {'x': array([[1., 0.],
           [0., 1.]])}
    """
    if len(content) < HEADER or content[124:128] not in (b"\0\1IM", b"\1\0MI"):
        raise ValueError("content: expected a MATLAB file of version 5, it has another header")
    order = "<" if content[126:128] == b"IM" else ">"
    try:
        found = dict(_arrays(content, order, shapes))
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"content: the MATLAB file is damaged: {error}") from error
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        held = found[name].shape if name in found else ()
        if len(held) != len(shape) or any(
            size != (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted)
            for size, wanted in zip(held, shape, strict=False)
        ):
            seen = {key: f"{value.dtype}{list(value.shape)}" for key, value in found.items()}
            wanted = ", ".join(f"{key} [{', '.join(map(str, value))}]" for key, value in shapes.items())
            raise ValueError(f"content: expected the arrays {wanted}, got {seen}")
    return found


def _arrays(content: bytes, order: str, names: Mapping[str, Shape]) -> Iterator[tuple[str, np.ndarray]]:
    position = HEADER
    while position + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, position)
        position += 8
        if size > len(content) - position:
            raise ValueError(f"content: the MATLAB file is damaged: {size} bytes at {position} of {len(content)}")
        part = content[position : position + size]
        position += size
        if kind == COMPRESSED:
            stream = _Stream(part, order, packed=True)
            kind, size = stream.numbers("II")
        else:
            stream = _Stream(part, order, packed=False)
        if kind == MATRIX:
            found = _array(stream, size, names)
            if found:
                yield found


def _array(stream: "_Stream", size: int, names: Mapping[str, Shape]) -> tuple[str, np.ndarray] | None:
    """Name and values of a matrix element, if it is one of those wanted."""
    begin = stream.position
    flags = stream.element(UINT32, 8)
    (first,) = struct.unpack(f"{stream.order}I", flags[:4])
    dimensions = stream.element(INT32, 4 * DIMENSIONS)
    if len(dimensions) % 4:
        raise ValueError(f"content: the MATLAB file is damaged: {len(dimensions)} bytes for sizes of 4 bytes each")
    shape = np.frombuffer(dimensions, stream.order + "i4").tolist()
    name = stream.element(1, NAME).decode("ascii")
    if name not in names:
        return None
    if first & 0xFF not in NUMERIC or first & COMPLEX:
        raise ValueError(f"content: expected an array of real numbers for {name}, got the class {first & 0xFF}")
    if min(shape, default=-1) < 0:
        raise ValueError(f"content: the MATLAB file is damaged: {name} has the shape {shape}")
    kind, length, small = stream.tag()
    if kind not in TYPES:
        raise ValueError(f"content: the MATLAB file is damaged: {name} has values of the type {kind}")
    dtype = np.dtype(stream.order + TYPES[kind])
    if length != dtype.itemsize * math.prod(shape) or (not small and length > size - (stream.position - begin)):
        raise ValueError(f"content: the MATLAB file is damaged: {length} bytes for {name} of the shape {shape}")
    values = np.frombuffer(small[:length] if small else stream.take(length), dtype)
    return name, values.astype(dtype.newbyteorder("="), copy=False).reshape(shape, order="F")


class _Stream:
    """The bytes of an element, unpacked as they are asked for."""

    def __init__(self, content: bytes, order: str, packed: bool) -> None:
        self.order, self.position, self.rest = order, 0, content
        self.unpacker = zlib.decompressobj() if packed else None

    def take(self, count: int) -> bytes:
        if self.unpacker is None:
            part, self.rest = self.rest[:count], self.rest[count:]
        else:
            part = b""
            while len(part) < count and self.rest:
                part += self.unpacker.decompress(self.rest, count - len(part))
                self.rest = self.unpacker.unconsumed_tail
        if len(part) < count:
            raise ValueError(f"content: the MATLAB file is damaged: {len(part)} bytes where {count} should follow")
        self.position += count
        return part

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(self.order + layout, self.take(struct.calcsize(self.order + layout)))

    def tag(self) -> tuple[int, int, bytes]:
        """Type and length of an element, and its content if that lies in the tag."""
        (first,) = self.numbers("I")
        if first >> 16 > 4:
            raise ValueError(f"content: the MATLAB file is damaged: {first >> 16} bytes in an element of at most 4")
        if first >> 16:
            return first & 0xFFFF, first >> 16, self.take(4)
        return first, self.numbers("I")[0], b""

    def element(self, kind: int, most: int) -> bytes:
        """The content of an element that must have this type and at most so many bytes."""
        found, length, small = self.tag()
        if found != kind or length > most:
            raise ValueError(f"content: the MATLAB file is damaged: an element of the type {found}, {length} bytes")
        return small[:length] if small else self.take(length + -length % 8)[:length]
