"""Other splits, hidden labels, principal components."""

import pytest
import torch

from pyrodgm import datasets
from pyrodgm.datasets import Dataset, Split


def dataset(count=60, **kwargs):
    images = torch.linspace(0, 1, 2 * count).view(count, 2)
    parts = [Split(images, torch.arange(count) % 4), Split(images[:5], torch.arange(5)), Split(images[:7])]
    return Dataset.from_tensors(*parts, **kwargs)


def test_resplit_draws_without_replacement_and_keeps_the_test_images():
    data = dataset()
    new = datasets.resplit(data, 40, 15, seed=1)
    assert (len(new.train), len(new.valid)) == (40, 15)
    assert new.test is data.test
    together = torch.cat([new.train.images, new.valid.images])
    assert len(together.unique(dim=0)) == 55
    found = torch.cat([new.train.labels, new.valid.labels])
    rows = [int((data.train.images == image).all(1).nonzero()) for image in together]
    assert torch.equal(found, data.train.labels[rows])
    again, other = (datasets.resplit(data, 40, 15, seed=seed).train.images for seed in (1, 2))
    assert torch.equal(new.train.images, again)
    assert not torch.equal(new.train.images, other)


def test_resplit_keeps_the_validation_images_unless_asked():
    data = dataset()
    new = datasets.resplit(data, 40, seed=1)
    assert new.valid is data.valid
    assert torch.equal(new.train.images, datasets.resplit(data, 40, 15, seed=1).train.images)


def test_resplit_binarises_new_validation_images_once():
    data = dataset(binarization="dynamic")
    new = datasets.resplit(data, 40, 15)
    assert set(new.valid.images.unique().tolist()) == {0.0, 1.0}
    assert len(new.train.images.unique()) > 2


@pytest.mark.parametrize("sizes", [(50, 11), (0, 5), (10, -1)])
def test_resplit_refuses_impossible_sizes(sizes):
    with pytest.raises(ValueError, match=r"num_(train|valid) must be at (least|most)"):
        datasets.resplit(dataset(), *sizes)


@pytest.mark.parametrize("stratified", [False, True])
def test_hidden_labels_are_minus_one(stratified):
    data = dataset()
    some = datasets.hide_labels(data, 0.2, seed=3, stratified=stratified)
    known = some.train.labels >= 0
    assert known.sum() == 12
    assert (some.train.labels[~known] == -1).all()
    assert torch.equal(some.train.labels[known], data.train.labels[known])
    assert torch.equal(some.train.images, data.train.images)
    counts = torch.bincount(some.train.labels[known], minlength=4).tolist()
    assert (counts == [3, 3, 3, 3]) == stratified
    assert torch.equal(some.train.labels, datasets.hide_labels(data, 0.2, 3, stratified).train.labels)
    assert not torch.equal(some.train.labels, datasets.hide_labels(data, 0.2, 4, stratified).train.labels)
    assert torch.equal(datasets.hide_labels(data, 1.0).train.labels, data.train.labels)


def test_hide_labels_refuses_bad_input():
    for fraction in (0.0, 1.1, 0.005):
        with pytest.raises(ValueError, match=r"fraction must .*, got "):
            datasets.hide_labels(dataset(), fraction)
    with pytest.raises(ValueError, match="expected labels of the training images, tensors has none"):
        datasets.hide_labels(Dataset.from_tensors(torch.rand(3, 2)), 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("whiten", [False, True])
def test_principal_components_are_those_of_scikit_learn(whiten):
    from sklearn.decomposition import PCA

    digits = datasets.load("digits")
    ours, theirs = datasets.pca(digits, 20, whiten), PCA(20, whiten=whiten, svd_solver="full")
    expected = torch.from_numpy(theirs.fit(digits.train.images.double()).transform(digits.test.images.double()))
    scale = 1.0 if whiten else theirs.explained_variance_.mean() ** 0.5
    found = ours.test.images.double()
    signs = (found * expected).sum(0).sign()
    n = len(digits.train)
    correction = (n / (n - 1)) ** 0.5  # scikit-learn divides by N - 1
    assert torch.allclose(found * signs, expected / scale * correction, atol=1e-4)
    assert ours.train.images.double().var(0).mean().item() == pytest.approx(n / (n - 1), rel=1e-4)
    assert (ours.values, ours.binarization, ours.image_shape) == ("real", "none", (1, 1, 20))
    assert ours.binarize(ours.train.images) is ours.train.images
    assert torch.equal(ours.test.labels, digits.test.labels)


def test_too_many_components_are_refused():
    with pytest.raises(ValueError, match="components must be from 1 to 2, got 3"):
        datasets.pca(dataset(), 3)
    with pytest.raises(ValueError, match="vary along fewer than 2 directions"):
        datasets.pca(dataset(), 2)
