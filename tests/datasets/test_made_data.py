"""Every format of the published files, read from small files of known content."""

import made_data
import numpy as np
import pytest
import torch

from pyrodgm import datasets


@pytest.mark.slow
def test_mnist(tmp_path, monkeypatch):
    made_data.accept(monkeypatch, made_data.write(tmp_path, made_data.digits()))
    data = datasets.load("mnist", tmp_path)
    pixels, labels = made_data.grey_bytes(60_000).reshape(-1, 784), made_data.labels_of(60_000)
    assert data.binarization == "dynamic"
    np.testing.assert_array_equal(data.train.images.mul(255).round().byte().numpy(), pixels[:50_000])
    for split, rows in (
        (data.train, slice(0, 50_000)),
        (data.valid, slice(50_000, 60_000)),
        (data.test, slice(10_000)),
    ):
        assert split.labels.tolist() == labels[rows].tolist()
    for split, rows in ((data.valid, slice(50_000, 60_000)), (data.test, slice(10_000))):
        grey = torch.from_numpy(pixels[rows])
        assert (split.images[grey == 0] == 0).all()
        assert (split.images[grey == 255] == 1).all()
        # For each grey level, the count of ones is within five standard deviations of its mean.
        count, p = grey.flatten().bincount(minlength=256).double(), torch.arange(256.0) / 255
        ones = grey.flatten().bincount(split.images.flatten(), minlength=256).double()
        assert ((ones - count * p).abs() <= 5 * (count * p * (1 - p)).sqrt()).all()


def test_static_mnist(made_root):
    data = datasets.load("static_mnist", made_root)
    for part in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(data, part).images.numpy(), made_data.bits_rows(part))
    assert data.image_shape == (1, 28, 28)


def test_silhouettes(made_root):
    data = datasets.load("caltech101_silhouettes", made_root)
    white, classes = made_data.silhouettes()
    splits = (data.train, data.valid, data.test)
    np.testing.assert_array_equal(torch.cat([s.images for s in splits]).numpy(), white.reshape(-1, 784))
    assert torch.cat([s.labels for s in splits]).tolist() == classes.tolist()
    assert [len(split) for split in splits] == [200, 50, 50]


def test_faces(made_root):
    data = datasets.load("frey_faces", made_root)
    splits = (data.train, data.valid, data.test)
    assert [len(split) for split in splits] == [1565, 200, 200]
    drawn = torch.cat([s.images for s in splits]).mul(255).round().byte().numpy()
    position = {bytes(row): i for i, row in enumerate(made_data.faces().reshape(-1, 560))}
    order = [position[bytes(row)] for row in drawn]
    assert sorted(order) == list(range(1965))
    assert np.diff(order).std() > 500
    assert (data.image_shape, data.num_bins) == ((1, 28, 20), 256)


def test_drawings(made_root):
    data = datasets.load("omniglot_28x28", made_root)
    images, characters, drawers = made_data.drawings()
    assert [len(split) for split in (data.train, data.valid, data.test)] == [155, 1345, 500]
    assert data.test.labels.tolist() == (characters[drawers > 15] - 1).tolist()
    grey = torch.from_numpy(images[drawers > 15]).view(-1, 784)
    assert (data.test.images[grey == 0] == 0).all()
    assert (data.test.images[grey == 255] == 1).all()
    own = set(map(bytes, data.train.images.mul(255).round().byte().numpy()))
    assert own < set(map(bytes, images[drawers <= 15].reshape(-1, 784)))
    assert torch.cat([data.train.labels, data.valid.labels]).bincount().tolist() == [15] * 100


@pytest.mark.parametrize(
    ("name", "made", "cuts"),
    [
        ("tiny_shakespeare", (20_000, 1), (0.9, 0.95)),
        ("war_and_peace", (5000, 2), (0.8, 0.9)),
        ("text8_prefix", (4000, 3), (0.9, 0.95)),
    ],
)
def test_texts(made_root, name, made, cuts):
    text, whole = datasets.load_text(name, made_root), made_data.text(*made)
    a, b = (int(cut * len(whole)) for cut in cuts)
    assert [text.decode(part) for part in (text.train, text.valid, text.test)] == [whole[:a], whole[a:b], whole[b:]]
    assert list(text.symbols) == sorted(set(whole))


def test_treebank(made_root):
    text = datasets.load_text("ptb", made_root)
    for part in ("train", "valid", "test"):
        assert text.decode(getattr(text, part)) == f"{part} of it\nand more\n"


def test_an_altered_file_is_refused(made_root, tmp_path):
    from pyrodgm.datasets import frey_faces

    content = bytearray((made_root / frey_faces.PICKLE.name).read_bytes())
    content[5000] ^= 1
    (tmp_path / "frey_faces").mkdir()
    (tmp_path / frey_faces.PICKLE.name).write_bytes(content)
    with pytest.raises(ValueError, match="altered"):
        datasets.load("frey_faces", tmp_path)
