"""Which data steps see, and training on data of which some are labelled."""

from functools import partial

import pytest
import torch

from pyrodgm.datasets import Dataset, Split, hide_labels
from pyrodgm.infer import SemiSupervisedELBO, classification_error, fit
from pyrodgm.infer.training.feeds.memory import images_feed
from pyrodgm.infer.training.settings import fit_arguments
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import SemiSupervisedVAE
from pyrodgm.nn import joint_mlp, mlp
from pyrodgm.posteriors import CategoricalPosterior, GaussianPosterior
from pyrodgm.priors import StandardNormal


def dataset(labels):
    """Image n is filled with n / 100."""
    images = (torch.arange(len(labels)) / 100).unsqueeze(1).expand(-1, 2).contiguous()
    return Dataset.from_tensors(Split(images, torch.tensor(labels)))


def numbers(x):
    return (100 * x[:, 0]).round().long()


def one_pass(feed):
    return [feed.next() for _ in range(feed.pass_length)]


def test_an_epoch_passes_over_all_data_once_where_labels_are_not_used():
    feed = images_feed(dataset([0, 1, -1, 2, 0, -1, 1]), 3)
    inputs = one_pass(feed)
    assert [len(rows) for (rows,) in inputs] == [3, 4]  # a last batch of one joins the one before it
    assert torch.cat([rows for (rows,) in inputs]).sort().values.tolist() == list(range(7))
    (x,) = feed.arguments(*inputs[0])
    assert torch.equal(numbers(x), inputs[0][0])


def test_an_epoch_passes_over_the_unlabelled_data_once():
    labels = torch.tensor([0, -1, -1, 2, -1, -1, 1, -1, -1, -1, -1])
    feed = images_feed(dataset(labels.tolist()), 3, labelled_batch_size=2)
    unlabelled, labelled = [], []
    for inputs in one_pass(feed):
        x, y = feed.arguments(*inputs)
        found = numbers(x)
        assert torch.equal(y, labels[found[:2]])
        assert (y >= 0).all()
        labelled += found[:2].tolist()
        unlabelled += found[2:].tolist()
    assert sorted(unlabelled) == [1, 2, 4, 5, 7, 8, 9, 10]
    assert len(labelled) == 2 * feed.pass_length == 6
    assert sorted(labelled[:3]) == sorted(labelled[3:]) == [0, 3, 6]  # each round takes every one of them


def test_an_epoch_passes_over_the_labelled_data_where_there_are_no_others():
    feed = images_feed(dataset([2, 0, 1, 1, 0]), 100, labelled_batch_size=2)
    parts = [feed.arguments(*inputs) for inputs in one_pass(feed)]
    assert [len(x) for x, _ in parts] == [len(y) for _, y in parts] == [2, 3]
    assert sorted(torch.cat([numbers(x) for x, _ in parts]).tolist()) == [0, 1, 2, 3, 4]
    assert len(feed.arguments(*feed.first())[1]) == 2


@pytest.mark.parametrize("labels", [[0, -1, -1], None])
def test_too_few_labelled_data_are_refused(labels):
    data = Dataset.from_tensors(torch.rand(3, 2)) if labels is None else dataset(labels)
    with pytest.raises(ValueError, match=r"at most the number of labelled training images, [01], got 2"):
        images_feed(data, 1, labelled_batch_size=2)


def stripes(count, generator):
    """Images of one of two stripes in noise, and which."""
    labels = torch.arange(count) % 2
    stripe = torch.zeros(2, 8)
    stripe[0, :4], stripe[1, 4:] = 1.0, 1.0
    noise = torch.rand(count, 8, generator=generator) < 0.1
    return Split((stripe[labels] - noise.to(stripe.dtype)).abs(), labels)


def pair():
    return SemiSupervisedVAE(
        StandardNormal(1),
        BernoulliLikelihood(joint_mlp([1, 2], [16], 8)),
        CategoricalPosterior(mlp(8, [16], 2)),
        GaussianPosterior(joint_mlp([8, 2], [16], 2)),
        2,
    )


def error(pair, data):
    return -classification_error(pair, data.valid.images, data.valid.labels)


def run(fraction, **kwargs):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    data = Dataset.from_tensors(*(stripes(n, generator) for n in (400, 100, 200)))
    model, data = pair(), hide_labels(data, fraction, stratified=True)
    options = {"objective": SemiSupervisedELBO(0.375), "labelled_batch_size": 2, "valid_score": error, "epochs": 6}
    options |= {"batch_size": 20, "optimizer": partial(torch.optim.Adam, lr=1e-2), "progress": False}
    result = fit(model, data, **fit_arguments(**{**options, **kwargs}))
    return model, data, result


@pytest.mark.slow
def test_fit_learns_classes_from_one_label_each():
    model, data, result = run(0.005)
    assert (data.train.labels >= 0).sum() == 2
    assert classification_error(model, data.test.images, data.test.labels) < 0.02
    assert len(result.metrics) == 6
    scores = [row["valid_score"] for row in result.metrics]
    assert result.best_bound == max(scores)
    assert result.best_epoch == 1 + scores.index(max(scores))
    assert -error(model, data) == -max(scores)


@pytest.mark.slow
def test_fit_with_all_labels_and_resumed(tmp_path):
    whole, _, result = run(1.0, epochs=4, labelled_batch_size=20)
    run(1.0, epochs=2, labelled_batch_size=20, run_dir=tmp_path)
    resumed, _, again = run(1.0, epochs=4, labelled_batch_size=20, run_dir=tmp_path, resume=True)
    assert again.metrics == result.metrics
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    with pytest.raises(ValueError, match="labelled_batch_size: was 20, is 10"):
        run(1.0, epochs=4, labelled_batch_size=10, run_dir=tmp_path, resume=True)


@pytest.mark.slow
def test_patience_goes_by_the_score():
    _, _, result = run(0.05, valid_score=lambda pair, data: 0.0, epochs=9, patience=3)
    assert (result.best_epoch, len(result.metrics)) == (1, 4)


def test_fit_refuses_a_batch_size_below_one():
    with pytest.raises(ValueError, match="labelled_batch_size must be at least 1, or None, got 0"):
        run(0.5, labelled_batch_size=0)
