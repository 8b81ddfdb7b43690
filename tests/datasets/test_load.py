"""The data sets by name, against their files and their known counts."""

import gzip
import hashlib

import numpy as np
import pytest
import torch

from pyrodgm import datasets

TRAIN_LABELS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_LABELS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
MD5 = {
    ("digits", "train"): "9792c738a21661a85d2c7a2047bd0896",
    ("digits", "valid"): "857e8fc5e86d72124c5d84fa0ceeebcf",
    ("digits", "test"): "93f8974d4de8e231976721f4ca0f76e4",
    ("mnist", "valid"): "208a61814db8fa7fc4bf20d4732cc040",
    ("mnist", "test"): "d7412e9d5e308b63cda5f5d79d6e9c8f",
}


def is_binary(images):
    return bool(((images == 0) | (images == 1)).all())


def grey(data_root, name):
    """MNIST's bytes, read past the 16 bytes of header."""
    content = gzip.decompress((data_root / "mnist" / f"{name}-images-idx3-ubyte.gz").read_bytes())
    return torch.frombuffer(bytearray(content[16:]), dtype=torch.uint8).view(-1, 784)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes", "image_shape", "binarization"),
    [
        ("digits", (1197, 300, 300), (1, 8, 8), "dynamic"),
        ("mnist", (50_000, 10_000, 10_000), (1, 28, 28), "dynamic"),
        ("static_mnist", (50_000, 10_000, 10_000), (1, 28, 28), "fixed"),
    ],
)
def test_shapes_and_kinds(name, sizes, image_shape, binarization, request):
    data = request.getfixturevalue(name)
    assert (data.name, data.image_shape, data.binarization, data.values) == (name, image_shape, binarization, "binary")
    for split, size in zip((data.train, data.valid, data.test), sizes, strict=True):
        assert split.images.shape == (size, np.prod(image_shape))
        assert split.images.dtype == torch.float32
        assert split.images.is_contiguous()
        if name == "static_mnist":
            assert split.labels is None
        else:
            assert split.labels.shape == (size,)
            assert split.labels.dtype == torch.int64
    for split in (data.valid, data.test):
        assert is_binary(split.images)
    torch.testing.assert_close(data.mean.double(), data.train.images.double().mean(0), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_mnist_training_images_are_the_bytes_of_the_file(mnist, data_root):
    pixels = grey(data_root, "train")
    assert torch.equal(mnist.train.images.mul(255).round().to(torch.uint8), pixels[:50_000])
    assert mnist.train.images.max() == 1
    assert abs(pixels.double().mean().item() / 255 - 0.1307) < 5e-5


@pytest.mark.slow
def test_grey_mnist_has_the_bytes_of_all_splits(mnist, data_root):
    data = datasets.load("grey_mnist", data_root)
    assert (data.name, data.image_shape, data.binarization, data.values) == ("grey_mnist", (1, 28, 28), "none", "grey")
    pixels = {"train": grey(data_root, "train")[:50_000], "valid": grey(data_root, "train")[50_000:]}
    for part, expected in {**pixels, "test": grey(data_root, "t10k")}.items():
        images = getattr(data, part).images
        assert torch.equal(images.mul(255).round().to(torch.uint8), expected)
        assert torch.equal(getattr(data, part).labels, getattr(mnist, part).labels)
        assert data.binarize(images) is images


def test_mnist_labels(mnist):
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert torch.cat([mnist.train.labels, mnist.valid.labels]).bincount().tolist() == TRAIN_LABELS
    assert mnist.test.labels.bincount().tolist() == TEST_LABELS


@pytest.mark.slow
def test_mnist_validation_and_test_are_draws_from_their_grey_images(mnist, data_root):
    for split, pixels in ((mnist.valid, grey(data_root, "train")[50_000:]), (mnist.test, grey(data_root, "t10k"))):
        assert (split.images[pixels == 0] == 0).all()
        assert (split.images[pixels == 255] == 1).all()
        # For each grey level, the count of ones is within five standard deviations of its mean.
        count = pixels.flatten().bincount(minlength=256).double()
        ones = pixels.flatten().bincount(split.images.flatten(), minlength=256).double()
        p = torch.arange(256, dtype=torch.float64) / 255
        assert ((ones - count * p).abs() <= 5 * (count * p * (1 - p)).sqrt()).all()


@pytest.mark.slow
def test_mnist_draws_come_from_the_mersenne_twister_alone(mnist, data_root):
    """The 24 low bits of each word of NumPy's MT19937, of the same seed, are the uniforms."""
    words = np.random.RandomState(1)._bit_generator.random_raw(10_000 * 784)
    uniforms = torch.from_numpy((words & 0xFFFFFF).astype("float32") / 2**24).view(-1, 784)
    p = grey(data_root, "train")[50_000:].to(torch.float32) / 255
    assert torch.equal(mnist.valid.images, (uniforms < p).to(torch.float32))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_two_loads_are_the_same_and_leave_the_random_state_alone(name, request, data_root):
    first = request.getfixturevalue(name)
    state = torch.get_rng_state()
    # A default device must not get in: nothing can be read on "meta".
    with torch.device("meta"):
        second = datasets.load(name, data_root)
    assert torch.equal(state, torch.get_rng_state())
    for part in ("train", "valid", "test"):
        a, b = getattr(first, part), getattr(second, part)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert a.images.dtype == b.images.dtype
        if (name, part) in MD5:
            assert hashlib.md5(b.images.numpy().tobytes()).hexdigest() == MD5[name, part]


def test_digit_counts_are_the_scans(digits):
    counts = datasets.load("digit_counts")
    assert (counts.values, counts.image_shape, counts.binarization, counts.num_bins) == (
        "counts",
        (1, 8, 8),
        "none",
        None,
    )
    assert torch.equal(counts.train.images, digits.train.images * 16)
    assert [len(split) for split in (counts.train, counts.valid, counts.test)] == [1197, 300, 300]
    assert torch.equal(counts.test.images.ceil().clamp(max=1), (counts.test.images > 0).float())
    assert counts.test.images.max() == 16


def test_digits_are_a_partition_of_the_scans(digits):
    from sklearn.datasets import load_digits

    scans = load_digits()
    rows = {(tuple(image.ravel()), label) for image, label in zip(scans.images, scans.target, strict=True)}
    assert len(rows) == 1797
    own = zip((digits.train.images * 16).tolist(), digits.train.labels.tolist(), strict=True)
    train = {(tuple(image), label) for image, label in own}
    assert len(train) == 1197
    assert train < rows
    rest = sorted(label for _, label in rows - train)
    assert sorted([*digits.valid.labels.tolist(), *digits.test.labels.tolist()]) == rest


def test_static_mnist_is_the_file(static_mnist, data_root):
    path = data_root / "binarized_mnist" / "binarized_mnist_train.amat.gz"
    np.testing.assert_array_equal(static_mnist.train.images[:200].numpy(), np.loadtxt(path, max_rows=200))
    assert is_binary(static_mnist.train.images)
    images = static_mnist.test.images
    assert static_mnist.binarize(images) is images


def test_static_test_rows_come_from_mnist(static_mnist, data_root):
    """Sorted by class: each of the first rows agrees with some zero where that is black or white."""
    content = gzip.decompress((data_root / "mnist" / "t10k-labels-idx1-ubyte.gz").read_bytes())
    zeros = grey(data_root, "t10k")[torch.frombuffer(bytearray(content[8:]), dtype=torch.uint8) == 0]
    for row in static_mnist.test.images[:50]:
        wrong = ((zeros == 0) & (row == 1)) | ((zeros == 255) & (row == 0))
        assert (~wrong.any(1)).any()


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no data set 'minst'; known are .*digits, .*mnist, .*static_mnist"):
        datasets.load("minst")
