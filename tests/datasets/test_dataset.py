"""Data sets from a user's own tensors."""

import pytest
import torch
from fresh_process import run_python
from torch.fx.experimental.proxy_tensor import make_fx

from pyrodgm.datasets import Dataset, Split

GREY = torch.linspace(0, 1, 60).view(5, 12).to(torch.float32)
BINARY = (GREY > 0.5).to(torch.float32)


@pytest.mark.parametrize(
    ("images", "image_shape", "expected"),
    [
        (GREY, None, (1, 1, 12)),
        (GREY, (3, 2, 2), (3, 2, 2)),
        (GREY.view(5, 3, 4), None, (1, 3, 4)),
        (GREY.view(5, 3, 2, 2), None, (3, 2, 2)),
        (GREY.view(5, 3, 2, 2), (3, 2, 2), (3, 2, 2)),
    ],
)
def test_image_shape(images, image_shape, expected):
    data = Dataset.from_tensors(images, test=images, image_shape=image_shape)
    assert data.image_shape == expected
    assert torch.equal(data.train.images, GREY)
    assert torch.equal(data.test.images, GREY)
    assert (len(data.valid), bool(data.valid), bool(data.test)) == (0, False, True)
    assert data.valid.images.shape == (0, 12)


@pytest.mark.parametrize(
    ("images", "binarization", "values"),
    [
        (GREY, "none", "grey"),
        (BINARY, "none", "binary"),
        (BINARY, "fixed", "binary"),
        (GREY, "dynamic", "binary"),
    ],
)
def test_values(images, binarization, values):
    data = Dataset.from_tensors(images, images, binarization=binarization)
    assert (data.values, data.binarization) == (values, binarization)
    assert torch.equal(data.train.images, images)
    drawn = data.binarize(data.train.images)
    if binarization == "dynamic":
        assert set(drawn.unique().tolist()) == {0, 1}
        assert set(data.valid.images.unique().tolist()) == {0, 1}
    else:
        assert drawn is data.train.images
        assert torch.equal(data.valid.images, images)


LEVELS = torch.arange(256).repeat(2, 1).to(torch.float32) / 255


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_grey_levels(dtype):
    images = LEVELS.to(dtype)
    assert Dataset.from_tensors(images).num_bins is None
    data = Dataset.from_tensors(images, test=images.round(), num_bins=256)
    assert (data.values, data.num_bins, data.to(dtype=torch.float64).num_bins) == ("grey", 256, 256)
    assert Dataset.from_tensors(BINARY, num_bins=2).values == "grey"
    wrong = images.repeat(700, 1)
    wrong[1234, 5] += 0.5 / 255
    with pytest.raises(ValueError, match=r"valid: expected the grey levels k / 255.*first in image number 1234"):
        Dataset.from_tensors(images, wrong, num_bins=256)


def test_values_are_grey_where_one_split_is():
    assert Dataset.from_tensors(BINARY, valid=BINARY, test=GREY).values == "grey"


def test_binarize_has_the_right_mean_and_is_drawn_anew_inside_a_trace():
    data = Dataset.from_tensors(GREY.double(), binarization="dynamic")
    batch = GREY.double().expand(4000, 5, 12)
    traced = make_fx(lambda x: data.binarize(x))(batch)
    draws = traced(batch)
    assert draws.dtype == torch.float64
    assert (draws.mean(0) - GREY).abs().max() < 5 * 0.5 / 4000**0.5
    assert (draws[:, GREY == 0] == 0).all()
    assert (draws[:, GREY == 1] == 1).all()
    assert not torch.equal(traced(batch), traced(batch))
    a, b = (data.binarize(batch, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b)


def test_dynamic_leaves_binary_validation_images_as_they_are():
    data = Dataset.from_tensors(GREY, valid=BINARY, test=BINARY, binarization="dynamic")
    assert torch.equal(data.valid.images, BINARY)
    assert torch.equal(data.test.images, BINARY)


def test_validation_and_test_draws_differ_and_do_not_depend_on_one_another():
    p = torch.full((20, 30), 0.5)
    data = Dataset.from_tensors(p, valid=p, test=p, binarization="dynamic")
    assert not torch.equal(data.valid.images, data.test.images)
    assert torch.equal(Dataset.from_tensors(p, test=p, binarization="dynamic").test.images, data.test.images)


def test_to_moves_everything():
    labels = torch.arange(5)
    data = Dataset.from_tensors(Split(GREY, labels), Split(GREY, labels), GREY, image_shape=(1, 3, 4), name="own")
    assert data.mean.dtype == torch.float32
    moved = data.to("meta", torch.float64)
    for split in (moved.train, moved.valid, moved.test):
        assert (split.images.device.type, split.images.dtype) == ("meta", torch.float64)
    assert (moved.train.labels.device.type, moved.train.labels.dtype) == ("meta", torch.int64)
    assert moved.test.labels is None
    assert (moved.mean.device.type, moved.mean.dtype) == ("meta", torch.float64)
    assert (moved.name, moved.image_shape, moved.values) == ("own", (1, 3, 4), "grey")
    assert data.to(dtype=torch.float64).train.images.device == GREY.device


NAN = torch.where(torch.arange(60).view(5, 12) == 40, torch.nan, GREY)
LABELS = torch.arange(5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"train": [[0.0]]}, TypeError, "train: expected a tensor or a Split of tensors, got list"),
        ({"train": (GREY * 255).to(torch.uint8)}, TypeError, r"train: .*got torch.uint8 \(divide bytes by 255\)"),
        ({"train": GREY[0]}, ValueError, r"train: expected images \[N, D\].*got \[12\]"),
        ({"train": GREY[:, :0]}, ValueError, r"train: expected images \[N, D\].*got \[5, 0\]"),
        ({"train": GREY[:0]}, ValueError, "train: expected at least one image"),
        ({"train": NAN}, ValueError, r"train: .*others in 1 of 5 images, first in number 3, which goes from nan"),
        ({"train": GREY * 2}, ValueError, r"train: expected values in \[0, 1\].*in 3 of 5 images, first in number 2"),
        ({"train": GREY, "valid": GREY - 0.1}, ValueError, r"valid: expected values in \[0, 1\].*number 0"),
        ({"train": GREY, "test": GREY + torch.inf}, ValueError, r"test: expected values in \[0, 1\].*inf"),
        ({"train": GREY, "valid": GREY[:, 1:]}, ValueError, r"valid: expected images \[N, 12\].*got images \[N, 11\]"),
        ({"train": GREY, "test": GREY.view(5, 3, 4)}, ValueError, r"test: .*\[N, 12\] of .*got images \[N, 3, 4\]"),
        ({"train": GREY, "test": GREY.double()}, ValueError, r"test: .*torch.float32 on cpu as in train.*float64"),
        ({"train": Split(GREY, LABELS.int())}, TypeError, "train: expected labels as an int64 tensor, got torch.int32"),
        ({"train": Split(GREY, [1, 2])}, TypeError, "train: expected labels as an int64 tensor, got list"),
        ({"train": Split(GREY, LABELS[:4])}, ValueError, r"train: expected labels \[5\], one an image; got \[4\]"),
        ({"train": Split(GREY, LABELS[:, None])}, ValueError, r"train: expected labels \[5\].*got \[5, 1\]"),
        ({"train": Split(GREY, LABELS - 2)}, ValueError, "train: expected labels from 0, or -1 .*, got -2"),
        ({"train": torch.rand(2, 5, 6, 3)}, ValueError, r"train: .*\[2, 5, 6, 3\], whose channels seem to be last"),
        ({"train": GREY, "image_shape": (1, 3, 3)}, ValueError, r"image_shape: .*images \[5, 12\], got \(1, 3, 3\)"),
        ({"train": GREY, "image_shape": (3, 4)}, ValueError, "image_shape must be 3 whole numbers, got 2"),
        ({"train": GREY, "image_shape": (1, -3, -4)}, ValueError, r"image_shape\[1\] must be at least 1, got -3"),
        ({"train": GREY.view(5, 3, 4), "image_shape": (1, 4, 3)}, ValueError, r"image_shape: .*\[5, 3, 4\]"),
        ({"train": GREY, "binarization": "fixed"}, ValueError, "train: expected images of 0 and 1"),
        ({"train": BINARY, "test": GREY, "binarization": "fixed"}, ValueError, "test: expected images of 0 and 1"),
        ({"train": GREY, "num_bins": 16}, ValueError, "train: expected the grey levels k / 15"),
        ({"train": GREY, "num_bins": 1}, ValueError, "num_bins: expected at least 2"),
        ({"train": BINARY, "num_bins": 2, "binarization": "fixed"}, ValueError, "num_bins: .*binarization='fixed'"),
        ({"train": GREY, "binarization": "static"}, ValueError, "binarization: .*got 'static'"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        Dataset.from_tensors(**arguments)


@pytest.mark.slow
def test_import_needs_no_further_library():
    program = (
        "import sys, pyrodgm.datasets; "
        "loaded = {'sklearn', 'scipy', 'pooch', 'requests', 'matplotlib'} & set(sys.modules); "
        "sys.exit(str(loaded) if loaded else 0)"
    )
    run_python("-c", program)
