"""Sentences as data: one row each, as long as the longest."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import one_of, whole_number
from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.files import read
from pyrodgm.datasets.split import Split
from pyrodgm.datasets.texts import PTB, Root

END, UNKNOWN, PADDING = "<eos>", "<unk>", -1
Level = Literal["words", "characters"]


def sentences(
    train: Sequence[str],
    valid: Sequence[str] = (),
    test: Sequence[str] = (),
    *,
    level: Level = "words",
    name: str = "sentences",
) -> Dataset:
    """Data set of your own sentences, whose rows hold the numbers of words or characters.

    Each row is one sentence, then symbol 0, `"<eos>"`, and then -1 up to the length of the longest. The other symbols
    have the numbers of their frequency in training sentences, the most frequent first.

    Args:
        train: training sentences; words are what blanks separate.
        valid: validation sentences, in which words that are not in `train` become `"<unk>"`.
        test: test sentences, likewise.
        level: what a symbol is. Words have `"<unk>"` among them; characters are those of all three parts.
        name: name of the data set.

    Raises:
        TypeError: a part is no sequence of strings.
        ValueError: `train` is empty, or `level` unknown.

    >>> data = sentences(["a cat", "a dog sat"], test=["a bird sat"])
    >>> data.symbols, data.train.images.tolist()
    (('<eos>', 'a', 'cat', 'dog', 'sat', '<unk>'), [[1, 2, 0, -1], [1, 3, 4, 0]])
    >>> data.decode(data.test.images)
    ['a <unk> sat']
    """
    one_of("level", level, ("words", "characters"))
    split = str.split if level == "words" else list
    parts = {}
    for part, lines in (("train", train), ("valid", valid), ("test", test)):
        if isinstance(lines, str) or not isinstance(lines, Sequence) or not all(isinstance(s, str) for s in lines):
            raise TypeError(f"{part} must be a sequence of strings, got {lines!r:.200}")
        parts[part] = [split(line) for line in lines]
    if not parts["train"]:
        raise ValueError("train must hold at least one sentence, got none")
    counts = Counter(token for tokens in parts["train"] for token in tokens)
    if level == "words":
        counts.setdefault(UNKNOWN, 0)
    else:
        counts.update({token: 0 for part in parts.values() for tokens in part for token in tokens})
    symbols = (END, *sorted((token for token in counts if token != END), key=lambda token: (-counts[token], token)))
    numbers = {symbol: i for i, symbol in enumerate(symbols)}
    length = 1 + max(len(tokens) for part in parts.values() for tokens in part)
    first, second, third = (Split(_rows(part, numbers, length)) for part in parts.values())
    shape = (1, 1, length)
    return Dataset(name, first, second, third, shape, values="symbols", binarization="none", symbols=symbols)


def _rows(part: list[list[str]], numbers: dict[str, int], length: int) -> Tensor:
    rows = torch.full((len(part), length), PADDING, device="cpu")
    for row, tokens in zip(rows, part, strict=True):
        known = [numbers.get(token, numbers.get(UNKNOWN, 0)) for token in tokens]
        row[: len(tokens) + 1] = torch.tensor([*known, 0], device="cpu")
    return rows


def limit_sentences(data: Dataset, length: int | None = None, num_symbols: int | None = None) -> Dataset:
    """The sentences of at most `length` symbols, the end included, with fewer different symbols.

    Args:
        data: sentences.
        length: longer ones are left out of all parts; None: none.
        num_symbols: the most frequent symbols that are kept, the end and `"<unk>"` included, at least 3; others become
            `"<unk>"`. None: all.

    Raises:
        ValueError: the data are no sentences, a number is too small, or there is no `"<unk>"` for other symbols.

    >>> data = sentences(["a cat sat", "a dog"], ["a cat"])
    >>> limit_sentences(data, length=3, num_symbols=3).train.images
    tensor([[1, 2, 0]])
    """
    if not isinstance(data, Dataset):
        raise TypeError(f"data must be a Dataset, got {data!r}")
    if data.values != "symbols":
        raise ValueError(f"data must be sentences, got {data.name}, whose values are {data.values}")
    splits = {part: getattr(data, part).images for part in ("train", "valid", "test")}
    symbols = data.symbols
    if num_symbols is not None and whole_number("num_symbols", num_symbols, 3) < len(symbols):
        if UNKNOWN not in symbols:
            raise ValueError(f"num_symbols must be None for data without {UNKNOWN}, got {num_symbols}")
        kept = symbols if symbols.index(UNKNOWN) < num_symbols else (*symbols[: num_symbols - 1], UNKNOWN)
        symbols = kept[:num_symbols]
        numbers = {symbol: i for i, symbol in enumerate(symbols)}
        known = [numbers.get(symbol, numbers[UNKNOWN]) for symbol in data.symbols]
        table = torch.tensor([*known, PADDING], device=splits["train"].device)  # -1 is the last entry
        splits = {part: table[x] for part, x in splits.items()}
    if length is not None and whole_number("length", length) < data.image_shape[2]:
        splits = {part: x[(x[:, length] == PADDING)][:, :length].clone() for part, x in splits.items()}
        if not len(splits["train"]):
            raise ValueError(f"length must leave at least one training sentence, got {length}")
    shape = (1, 1, splits["train"].shape[1])
    train, valid, test = (Split(x) for x in splits.values())
    return replace(data, train=train, valid=valid, test=test, image_shape=shape, symbols=symbols)


def _load_ptb(root: Root, level: Level) -> Dataset:
    parts = [read(PTB[part], root).decode("ascii").splitlines() for part in ("train", "valid", "test")]
    stripped = ([line.strip() for line in lines] for lines in parts)
    return sentences(*stripped, level=level, name=f"ptb_{level}")


load_ptb_words = partial(_load_ptb, level="words")
load_ptb_characters = partial(_load_ptb, level="characters")
