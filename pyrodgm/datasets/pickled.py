"""Pickles of NumPy arrays, read without running anything that they ask for."""

import io
import pickle
import re
from typing import Any

import numpy as np

from pyrodgm.datasets.pickle_opcodes import UnsafePickleError, check_opcodes


def parse_pickle(content: bytes) -> Any:
    """Arrays of numbers from a pickle, in lists, tuples and dictionaries as they lie in it.

    A pickle is a program; this one may build an array and nothing else. The three names that NumPy writes for an array
    stand for a record of its shape, type and bytes, and the two that Python 3 writes for bytes in the protocols 0 to 2
    for bytes; every other name is refused, and no code of NumPy's or of anybody's runs on what the pickle says. Python
    2 and 3 have written such pickles in the protocols 0 to 4; in protocol 5 an array has another name.

    Args:
        content: the pickle.

    Returns:
        What was pickled, arrays read-only.

    Raises:
        ValueError: it asks for anything but an array of numbers, has one list, tuple or dictionary in two places, or is
            damaged.

    >>> parse_pickle(pickle.dumps([np.arange(3)], protocol=4))
    [array([0, 1, 2])]
    """
    try:
        check_opcodes(content)
        return _built(_Unpickler(content).load(), set(), {})
    except UnsafePickleError as error:
        raise ValueError(f"content: the pickle asks for {error}; only arrays of numbers are read from it") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(f"content: no pickle of NumPy arrays: {error or type(error).__name__}") from error


class _Type:
    """What stands for `numpy.dtype`."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"b1|[iuf][1248]", code):
            raise UnsafePickleError(f"an array of the type {code!r}")
        self.code, self.order = code, "|"

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|"):
            raise UnsafePickleError(f"the byte order {state[1]!r}")
        self.order = state[1]


class _Array:
    """What stands for `numpy.ndarray` and for the function that makes an empty one."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None
        self.made: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self, encoded: dict[int, bytes]) -> np.ndarray:
        """The array; texts that many of them share are encoded once."""
        if self.made is None:
            self.made = self._make(encoded)
        return self.made

    def _make(self, encoded: dict[int, bytes]) -> np.ndarray:
        _, shape, kind, fortran, stored = self.state
        if not isinstance(kind, _Type):
            raise UnsafePickleError("an array without a type")
        if isinstance(stored, str):
            if id(stored) not in encoded:
                encoded[id(stored)] = stored.encode("latin1")
            stored = encoded[id(stored)]
        values = np.frombuffer(stored, dtype=kind.order + kind.code)
        return values.reshape(shape, order="F" if fortran else "C")


def _no_bytes() -> bytes:
    """What stands for `bytes`, called with nothing."""
    return b""


class _Unpickler(pickle.Unpickler):
    NAMES = {  # noqa: RUF012
        ("numpy", "dtype"): _Type,
        ("numpy", "ndarray"): _Array,
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("__builtin__", "bytes"): _no_bytes,
    }

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.left = len(content)  # bytes that may be encoded: a text that is used again and again makes many of few

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        if (module, name) not in self.NAMES:
            raise UnsafePickleError(f"{module}.{name}")
        return self.NAMES[module, name]

    def _encode(self, text: Any, encoding: Any) -> bytes:
        """What stands for `_codecs.encode`, which has other encodings, some with code behind them."""
        if not isinstance(text, str) or encoding != "latin1":
            raise UnsafePickleError(f"_codecs.encode of a {type(text).__name__} as {encoding!r}")
        self.left -= len(text)
        if self.left < 0:
            raise ValueError("one text in it is encoded again and again")
        return text.encode("latin1")


def _built(value: Any, seen: set[int], encoded: dict[int, bytes]) -> Any:
    if isinstance(value, _Array):
        return value.array(encoded)
    if isinstance(value, (dict, list, tuple)) and value:
        # Lists that hold one list twice, and so on, make a few bytes stand for any number of values.
        if id(value) in seen:
            raise ValueError(f"the same {type(value).__name__} is in it more than once")
        seen.add(id(value))
    if isinstance(value, dict):
        return {_built(key, seen, encoded): _built(item, seen, encoded) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_built(item, seen, encoded) for item in value)
    if isinstance(value, (str, bytes, int, float, bool, type(None))):
        return value
    raise UnsafePickleError(f"a {type(value).__name__}")
