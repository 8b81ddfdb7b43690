"""Texts as three sequences of symbols (training, validation, test), cut into batches of streams."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import tensors, whole_number


@dataclass(frozen=True, eq=False)
class Text:
    """A text as numbers. Make one with `pyrodgm.datasets.load_text` or `Text.from_strings`.

    Attributes:
        name: what it is called in run folders and tables.
        train, valid, test: symbols in order, `[N]` (int64), each a position in `symbols`.
        symbols: the characters, sorted.

    >>> text = Text.from_strings("abracadabra", "abra", "cad")
    >>> text.symbols, text.valid.tolist(), text.decode(text.test)
    ('abcdr', [0, 1, 4, 0], 'cad')
    """

    name: str
    train: Tensor
    valid: Tensor
    test: Tensor
    symbols: str

    @classmethod
    def from_strings(cls, train: str, valid: str = "", test: str = "", *, name: str = "strings") -> "Text":
        """Text from your own strings; the symbols are those of all three.

        Raises:
            ValueError: `train` is empty.
        """
        for part, string in (("train", train), ("valid", valid), ("test", test)):
            if not isinstance(string, str):
                raise TypeError(f"{part} must be a string, got {string!r}")
        if not train:
            raise ValueError("train: expected at least one character, got none")
        symbols = "".join(sorted(set(train) | set(valid) | set(test)))
        return cls(name, _encode(train, symbols), _encode(valid, symbols), _encode(test, symbols), symbols)

    def encode(self, string: str) -> Tensor:
        """The numbers of the characters, `[N]`.

        Raises:
            ValueError: a character is not among the symbols.
        """
        unknown = sorted(set(string) - set(self.symbols))
        if unknown:
            raise ValueError(f"string: expected characters among the {len(self.symbols)} symbols, got {unknown}")
        return _encode(string, self.symbols)

    def decode(self, numbers: Tensor) -> str:
        """The characters of the numbers `[N]`."""
        return "".join(self.symbols[i] for i in numbers.tolist())


def _encode(string: str, symbols: str) -> Tensor:
    import numpy as np

    codes = np.frombuffer(string.encode("utf-32-le"), dtype=np.uint32)
    known = np.array([ord(symbol) for symbol in symbols], dtype=np.uint32)
    return torch.from_numpy(np.searchsorted(known, codes).astype(np.int64))


def stream_batches(sequence: Tensor, batch_size: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows of a long sequence, read in `batch_size` streams side by side, for training with the state carried over.

    Stream i begins where stream i - 1 ends. Symbols at the end that do not fill a window of all streams are left out.

    Args:
        sequence: `[N]`.
        batch_size: how many streams.
        length: T, symbols of a window.

    Yields:
        symbols and the symbols that follow them, each `[batch_size, T]`.

    Raises:
        ValueError: `batch_size` or `length` is not positive, or the sequence is too short for one window.

    >>> for x, y in stream_batches(torch.arange(13), 2, 3):
    ...     print(x.tolist(), y.tolist())
    [[0, 1, 2], [6, 7, 8]] [[1, 2, 3], [7, 8, 9]]
    [[3, 4, 5], [9, 10, 11]] [[4, 5, 6], [10, 11, 12]]
    """
    tensors(sequence=sequence)
    if sequence.dim() != 1:
        raise ValueError(f"sequence must have shape [N], got {list(sequence.shape)}")
    batch_size, length = whole_number("batch_size", batch_size), whole_number("length", length)
    windows = (len(sequence) - 1) // batch_size // length
    if windows < 1:
        least = batch_size * length + 1
        raise ValueError(f"sequence: expected at least {least} symbols for one window, got {len(sequence)}")
    stride = windows * length
    inputs = sequence[: batch_size * stride].view(batch_size, windows, length)
    targets = sequence[1 : batch_size * stride + 1].view(batch_size, windows, length)
    for i in range(windows):
        yield inputs[:, i], targets[:, i]
