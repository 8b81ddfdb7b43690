"""Rotated digits: the turning against SciPy's, the splits against MNIST, and the published file's format."""

import hashlib
import io
import math
import zipfile

import numpy as np
import pytest
import torch
from scipy import ndimage

from pyrodgm import datasets
from pyrodgm.datasets import mnist_rotation
from pyrodgm.datasets.rotated_mnist import rotate


def test_right_angles_turn_pixels_into_each_others_places():
    images = torch.rand(4, 7, 7)
    turned = rotate(images, torch.arange(4) * math.pi / 2)
    expected = torch.stack([torch.rot90(image, k) for k, image in enumerate(images)])
    assert torch.allclose(turned, expected, atol=1e-6)


@pytest.mark.parametrize("degrees", [17.0, -75.0, 140.0])
def test_other_angles_are_interpolated_as_by_scipy(degrees):
    image = np.zeros((28, 28))
    image[8:20, 12:16] = 1.0
    image = ndimage.gaussian_filter(image, 1.0)
    ours = rotate(torch.from_numpy(image).unsqueeze(0), torch.tensor([math.radians(degrees)], dtype=torch.float64))
    theirs = ndimage.rotate(image, degrees, reshape=False, order=1)
    assert np.allclose(ours[0].numpy(), theirs, atol=1e-9)


@pytest.fixture(scope="module")
def rotated(data_root):
    return datasets.load("rotated_mnist", data_root)


@pytest.mark.slow
def test_splits_have_no_digit_in_common(rotated, data_root):
    mnist = datasets.load("grey_mnist", data_root)
    assert [len(rotated.train), len(rotated.valid), len(rotated.test)] == [70_000, 10_000, 20_000]
    assert rotated.values == "grey"
    assert torch.equal(rotated.test.images[:10_000], mnist.test.images)
    assert torch.equal(rotated.test.labels, mnist.test.labels.repeat(2))
    assert torch.equal(rotated.valid.labels[:5000], rotated.valid.labels[5000:])
    train, valid = rotated.train.images[:35_000], rotated.valid.images[:5000]
    assert len(torch.cat([train, valid]).unique(dim=0)) == 40_000
    # Rotation about the centre keeps the ink of what stays within the frame.
    ink = rotated.test.images.sum(1)
    assert torch.allclose(ink[:10_000].mean(), ink[10_000:].mean(), rtol=0.02)
    assert not torch.allclose(rotated.test.images[10_000:], mnist.test.images, atol=0.1)


@pytest.mark.slow
def test_published_archive(tmp_path, monkeypatch):
    values = np.tile(np.random.default_rng(0).random((67, 784)).round(7), (30, 1))
    values[0, 0] = 1.0 + 1e-7
    labels = np.arange(2010) % 10
    lines = {row: " ".join(f"{value:.9e}" for value in row) for row in {tuple(row) for row in values}}
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, rows in (("train_valid", slice(0, 2010)), ("test", slice(0, 6))):
            text = "".join(
                f"{lines[tuple(row)]} {label:.9e}\n" for row, label in zip(values[rows], labels[rows], strict=True)
            )
            archive.writestr(f"mnist_all_rotation_normalized_float_{part}.amat", text)
    (tmp_path / "mnist_rotation").mkdir()
    (tmp_path / "mnist_rotation" / "mnist_rotation_new.zip").write_bytes(content.getvalue())
    with pytest.raises(ValueError, match="truncated or altered"):
        datasets.load("mnist_rotation", tmp_path)
    md5 = hashlib.md5(content.getvalue()).hexdigest()
    file = mnist_rotation.DataFile(mnist_rotation.ARCHIVE.name, mnist_rotation.ARCHIVE.url, md5, md5)
    monkeypatch.setattr(mnist_rotation, "ARCHIVE", file)
    data = datasets.load("mnist_rotation", tmp_path)
    assert [len(data.train), len(data.valid), len(data.test)] == [10, 2000, 6]
    expected = torch.from_numpy(values.clip(max=1.0).astype("float32"))
    assert torch.allclose(torch.cat([data.train.images, data.valid.images]), expected)
    assert torch.equal(data.test.labels, torch.arange(6))
