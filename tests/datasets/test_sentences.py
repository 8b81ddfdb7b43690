"""Sentences as rows: the Penn Treebank against the counts of the literature, the grammar against its entropy."""

import math

import pytest
import torch

from pyrodgm import datasets
from pyrodgm.datasets import limit_sentences, sentences
from pyrodgm.datasets.toy_sentences import SCENES


def counts(data):
    return [int((split.images >= 0).sum()) for split in (data.train, data.valid, data.test)]


@pytest.mark.slow
def test_the_words_of_the_treebank_are_those_of_the_literature(data_root):
    data = datasets.load("ptb_words", data_root)
    assert [len(split) for split in (data.train, data.valid, data.test)] == [42_068, 3_370, 3_761]
    assert counts(data) == [929_589, 73_760, 82_430]  # with one end a sentence
    assert (len(data.symbols), data.values, data.image_shape) == (10_000, "symbols", (1, 1, 83))
    assert data.symbols[:4] == ("<eos>", "the", "<unk>", "N")
    assert data.decode(data.test.images[:1]) == ["no it was n't black monday"]
    few = limit_sentences(data, 20, 400)
    assert (len(few.symbols), few.image_shape[2]) == (400, 20)
    kept = (data.train.images >= 0).sum(1) <= 20
    assert len(few.train) == int(kept.sum())
    assert few.decode(few.test.images[:1]) == ["no it was n't <unk> monday"]


def test_characters_are_those_of_all_parts():
    data = sentences(["abba"], test=["c a"], level="characters")
    assert data.symbols == ("<eos>", "a", "b", " ", "c")
    assert data.test.images.tolist() == [[4, 3, 1, 0, -1]]
    assert data.decode(data.test.images) == ["c a"]
    with pytest.raises(ValueError, match="num_symbols must be None for data without <unk>, got 3"):
        limit_sentences(data, num_symbols=3)


def test_an_empty_sentence_is_an_end():
    assert sentences(["", "a"]).train.images.tolist() == [[0, -1], [1, 0]]


def test_rare_words_become_unknown():
    data = sentences(["a a a b b c <unk>", "d"], ["e b"])
    few = limit_sentences(data, num_symbols=4)
    assert few.symbols == ("<eos>", "a", "b", "<unk>")
    assert few.decode(few.train.images) == ["a a a b b <unk> <unk>", "<unk>"]
    assert few.decode(few.valid.images) == ["<unk> b"]
    assert few.train.images.unique().tolist() == [-1, 0, 1, 2, 3]


def test_long_sentences_are_left_out():
    data = limit_sentences(sentences(["a b c", "a"], ["a b c"], ["a b"]), length=3)
    assert [len(split) for split in (data.train, data.valid, data.test)] == [1, 0, 1]
    assert data.image_shape == (1, 1, 3)
    with pytest.raises(ValueError, match="length must leave at least one training sentence, got 1"):
        limit_sentences(data, length=1)
    with pytest.raises(ValueError, match="data must be sentences, got digits, whose values are binary"):
        limit_sentences(datasets.load("digits"))


def test_whole_numbers_stay_so_in_another_dtype():
    data = sentences(["a b"]).to(dtype=torch.float64)
    assert data.train.images.dtype == torch.int64


def test_the_grammar_has_the_entropy_that_it_says():
    with torch.device("meta"):
        data = datasets.load("toy_sentences")
    assert [len(split) for split in (data.train, data.valid, data.test)] == [4000, 500, 500]
    nats = 0.0
    for line in data.decode(data.train.images):
        words = line.split()
        (scene,) = (s for s in SCENES if words[-1] in (*s[2], *s[3]) and any(noun in words for noun in s[0]))
        nats -= math.log(1 / 4 / 2 / 2 / 5 / 4 / 5)
        nats += math.log(4) * (words[1] not in scene[0]) + math.log(3) * ("in" in words)
    assert nats / 4000 == pytest.approx(8.620, abs=0.05)
    assert len({*data.decode(data.train.images)}) > 1000
