"""Texts against the counts of the literature and of the files themselves, and the cutting into streams."""

import gzip
import re

import pytest
import torch

from pyrodgm import datasets
from pyrodgm.datasets import Text, stream_batches


def test_ptb_has_the_published_number_of_characters(data_root):
    ptb = datasets.load_text("ptb", data_root)
    assert [len(part) for part in (ptb.train, ptb.valid, ptb.test)] == [5_017_482, 393_042, 442_423]
    assert [len(part.unique()) for part in (ptb.valid, ptb.test)] == [50, 48]
    assert (len(ptb.symbols), ptb.train.dtype) == (50, torch.int64)
    head = ptb.decode(ptb.train[:200])
    assert head.startswith("aer banknote berlitz calloway")
    assert "\npierre <unk> N years old" in head
    words = ptb.decode(ptb.test).split()
    assert len(words) + ptb.decode(ptb.test).count("\n") == 82_430  # one end-of-sentence token a line


@pytest.mark.parametrize(
    ("name", "sizes", "symbols"),
    [
        ("war_and_peace", [2_606_584, 325_823, 325_824], 84),
        ("tiny_shakespeare", [1_003_854, 55_770, 55_770], 65),
        ("text8_prefix", [6_190_042, 343_891, 343_892], 27),
    ],
)
def test_other_texts(data_root, name, sizes, symbols):
    text = datasets.load_text(name, data_root)
    assert [len(part) for part in (text.train, text.valid, text.test)] == sizes
    assert len(text.symbols) == symbols
    assert list(text.symbols) == sorted(set(text.symbols))
    assert torch.equal(text.encode(text.decode(text.valid)), text.valid)


def test_splits_of_war_and_peace_are_those_of_the_paper(data_root):
    text = datasets.load_text("war_and_peace", data_root)
    for part in ("train", "valid", "test"):
        content = (data_root / f"text/war_and_peace/{part}.txt").read_bytes().decode("utf-8")
        assert text.decode(getattr(text, part)) == content


def test_text8_and_its_prefix_are_read_from_the_whole_where_that_is_stored(tmp_path, monkeypatch):
    import hashlib

    from pyrodgm.datasets import texts

    whole = ("the quick brown fox " * 10).encode()
    monkeypatch.setattr(texts, "PREFIX_LENGTH", 40)
    digest = hashlib.md5(whole, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(texts, "TEXT8", texts.DataFile("text/text8/text8", "http://127.0.0.1:9/", digest, digest))
    (tmp_path / "text/text8").mkdir(parents=True)
    (tmp_path / "text/text8/text8.gz").write_bytes(gzip.compress(whole))
    text8, prefix = (datasets.load_text(name, tmp_path) for name in ("text8", "text8_prefix"))
    assert [len(p) for p in (text8.train, text8.valid, text8.test)] == [180, 10, 10]
    assert prefix.decode(torch.cat([prefix.train, prefix.valid, prefix.test])) == whole[:40].decode()


def test_altered_file_is_refused(tmp_path):
    (tmp_path / "text/tinyshakespeare").mkdir(parents=True)
    (tmp_path / "text/tinyshakespeare/input.txt").write_text("First Citizen:\n")
    with pytest.raises(ValueError, match="truncated or altered"):
        datasets.load_text("tiny_shakespeare", tmp_path)


def test_encoding():
    text = Text.from_strings("hello", "hole", "leo", name="x")
    assert (text.symbols, text.name) == ("ehlo", "x")
    assert text.encode("hole").tolist() == [1, 3, 2, 0]
    with pytest.raises(ValueError, match=re.escape("string: expected characters among the 4 symbols, got ['a', 'z']")):
        text.encode("azle")
    with pytest.raises(ValueError, match="train: expected at least one character"):
        Text.from_strings("")
    with pytest.raises(ValueError, match=r"name: no text 'ptbb'; known are ptb, text8"):
        datasets.load_text("ptbb")


def test_streams_cover_the_sequence_once_in_order():
    sequence = torch.randperm(1000)
    batches = list(stream_batches(sequence, 7, 11))
    assert len(batches) == 999 // 7 // 11
    for x, y in batches:
        assert x.shape == y.shape == (7, 11)
    x, y = (torch.cat(part, 1) for part in zip(*batches, strict=True))
    assert torch.equal(x.flatten(), sequence[: x.numel()])
    assert torch.equal(y.flatten(), sequence[1 : x.numel() + 1])


def test_streams_refuse_what_cannot_be_cut():
    with pytest.raises(ValueError, match="expected at least 7 symbols for one window, got 6"):
        list(stream_batches(torch.arange(6), 2, 3))
    assert len(list(stream_batches(torch.arange(7), 2, 3))) == 1
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        list(stream_batches(torch.arange(6), 0, 3))
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        list(stream_batches(torch.arange(6), 2, 0))
