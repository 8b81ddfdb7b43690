"""SVHN from small files of the same format."""

import hashlib
import io

import numpy as np
import pytest
import torch
from scipy.io import savemat

from pyrodgm import datasets
from pyrodgm.datasets import svhn
from pyrodgm.datasets.files import DataFile


def content(**variables):
    file = io.BytesIO()
    savemat(file, variables, do_compression=True)
    return file.getvalue()


def digits(count, seed):
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
    return x, (np.arange(count, dtype=np.uint8) % 10 + 1).reshape(-1, 1)


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "svhn").mkdir()
    files = {}
    for part, count, seed in (("train", 600, 0), ("test", 30, 1)):
        x, y = digits(count, seed)
        data = content(X=x, y=y)
        (tmp_path / "svhn" / f"{part}_32x32.mat").write_bytes(data)
        md5 = hashlib.md5(data).hexdigest()
        files[part] = DataFile(svhn.FILES[part].name, svhn.FILES[part].url, md5, md5)
    monkeypatch.setattr(svhn, "FILES", files)
    return tmp_path


@pytest.mark.slow
def test_images_and_labels(root):
    data = datasets.load("svhn", root)
    x, y = digits(30, 1)
    assert data.image_shape == (3, 32, 32)
    for n in (0, 9, 29):
        image = data.test.images[n].view(3, 32, 32)
        for channel, row, column in ((0, 0, 0), (1, 5, 30), (2, 31, 2)):
            assert image[channel, row, column].item() == pytest.approx(x[row, column, channel, n] / 255)
    assert data.test.labels.tolist() == [value % 10 for value in y.ravel().tolist()]  # 10 stands for the digit 0
    assert (len(data.train), len(data.valid)) == (532, 68)
    pool = torch.from_numpy(digits(600, 0)[0].transpose(3, 2, 0, 1).reshape(600, -1).astype("float32") / 255)
    together = torch.cat([data.train.images, data.valid.images])
    assert torch.equal(together.sort(0).values, pool.sort(0).values)


def test_principal_components(root):
    data = datasets.load("svhn_pca", root)
    assert data.train.images.shape == (532, 500)
    assert data.values == "real"
    covariance = data.train.images.double().T.cov()
    assert torch.allclose(covariance, covariance.diagonal().diag(), atol=1e-4)
    assert (covariance.diagonal().diff() < 1e-4).all()


def test_other_files_are_refused(root):
    x, y = digits(4, 0)
    for variables, message in (
        ({"X": x}, r"expected the arrays X \[32, 32, 3, N\], y \[N, 1\], got"),
        ({"X": x[:16], "y": y}, r"got \{'X': 'uint8\[16, 32, 3, 4\]', 'y': 'uint8\[4, 1\]'\}"),
        ({"X": x, "y": y - 1}, "labels y from 1 to 10, got 0 to 3"),
    ):
        with pytest.raises(ValueError, match=message):
            svhn.parse_svhn(content(**variables))
    with pytest.raises(ValueError, match="expected a MATLAB file of version 5"):
        svhn.parse_svhn(b"no such file" * 20)
    (root / "svhn" / "test_32x32.mat").write_bytes(content(X=x, y=y))
    with pytest.raises(ValueError, match="truncated or altered"):
        datasets.load("svhn", root)
