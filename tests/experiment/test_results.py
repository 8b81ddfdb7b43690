"""Evaluation of trained pairs, and tables of what it finds."""

import math
from dataclasses import fields, replace

import pytest
import torch
from coins import LATENT, coins, dataset, pair
from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset, Split, evenly_spaced
from pyrodgm.experiment import seeds
from pyrodgm.experiment.results import has_bits
from pyrodgm.infer import log_likelihood
from pyrodgm.likelihoods import (
    BernoulliLikelihood,
    DiscretizedLogisticLikelihood,
    GaussianLikelihood,
    GreyBernoulliLikelihood,
    PixelCNNLikelihood,
)
from pyrodgm.models import VAE, SemiSupervisedVAE
from pyrodgm.nn import PixelCNN, joint_mlp, mlp
from pyrodgm.posteriors import CategoricalPosterior, GaussianPosterior
from pyrodgm.priors import StandardNormal


def test_evaluation_of_a_pair_whose_likelihood_is_known():
    data = dataset()
    mean = data.mean.clamp(0.05, 0.95)
    results, likelihood = experiment.evaluate(coins(mean), data, num_samples=4, num_images=10, seconds=[1.0, 9.0, 2.0])
    x = data.test.images[::2]
    exact = (x * mean.log() + (1 - x) * (-mean).log1p()).sum(1)
    torch.testing.assert_close(likelihood.values, exact)
    assert results.log_likelihood == pytest.approx(exact.mean().item())
    assert results.standard_error == pytest.approx(exact.std().item() / math.sqrt(10))
    assert results.elbo == pytest.approx(exact.mean().item())
    assert results.active_units == {"z": 0}
    assert (results.num_images, results.num_samples, results.seconds_per_epoch) == (10, 4, 2.0)


@pytest.mark.slow
def test_latents_that_copy_the_label_count_as_active_and_label_rightly():
    data = dataset()
    results, likelihood = experiment.evaluate(coins(data.mean, copied=[0]), data, num_samples=100)
    assert results.active_units == {"z": 1}
    assert results.knn_error.keys() == {f"z {kind} k={k}" for kind in ("mean", "sample") for k in (3, 5, 10)}
    assert {results.knn_error[f"z mean k={k}"] for k in (3, 5, 10)} == {0.0}
    assert results.knn_error["z sample k=5"] > 0.05  # the posterior is as wide as the classes are apart
    assert results.elbo < results.log_likelihood
    assert results.untrusted_share == likelihood.untrusted.double().mean()
    pixel = experiment.evaluate(coins(data.mean, copied=[1]), data, num_samples=50)[0]
    assert pixel.knn_error["z mean k=5"] > 0.05
    assert experiment.evaluate(coins(data.mean), dataset(labels=False), num_samples=4)[0].knn_error == {}


@pytest.mark.parametrize(("count", "ks"), [(2, []), (7, [3, 5])])
def test_no_more_neighbours_than_labels(count, ks):
    data = dataset()
    data.train.labels[count:] = -1
    results = experiment.evaluate(coins(data.mean), data, num_samples=4)[0]
    assert results.knn_error.keys() == {f"z {kind} k={k}" for kind in ("mean", "sample") for k in ks}


def test_test_images_without_a_label_count_for_no_error():
    data = dataset()
    model = SemiSupervisedVAE(
        StandardNormal(LATENT),
        BernoulliLikelihood(joint_mlp([LATENT, 2], [4], 12)),
        CategoricalPosterior(mlp(12, [], 2)),
        GaussianPosterior(joint_mlp([12, 2], [4], 2 * LATENT)),
        num_classes=2,
    )
    data.test.labels[8:] = -1
    some = experiment.evaluate(model, data, num_samples=4)[0]
    wrong = model.classifier(data.test.images[:8]).logits.argmax(-1) != data.test.labels[:8]
    assert some.classification_error == wrong.double().mean().item()
    copied = experiment.evaluate(coins(data.mean, copied=[0]), data, num_samples=4)[0]
    assert copied.knn_error["z mean k=5"] == 0.0
    data.test.labels.fill_(-1)
    none = experiment.evaluate(model, data, num_samples=4)[0]
    assert none.knn_error == {}
    assert none.classification_error is None


def test_standard_errors_are_no_results_of_several_seeds():
    names = {field.name for field in fields(experiment.Results) if field.name.endswith("_error")}
    assert names - {"knn_error", "classification_error"} == set(seeds.ERRORS)


@pytest.mark.slow
def test_evaluation_is_reproducible_and_leaves_the_random_state():
    model, data = pair(), dataset()
    state = torch.get_rng_state()
    first, likelihood = experiment.evaluate(model, data, num_samples=50, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert experiment.evaluate(model, data, num_samples=50, seed=3)[0] == first
    assert experiment.evaluate(model, data, num_samples=50, seed=4)[0] != first
    assert torch.equal(log_likelihood(model, data.test.images, 50, seed=3).values, likelihood.values)


@pytest.mark.parametrize("count", [0, 21])
def test_impossible_number_of_images_is_named(count):
    with pytest.raises(ValueError, match=f"from 1 to 20, got {count}"):
        experiment.evaluate(pair(), dataset(), num_samples=5, num_images=count)


def test_data_without_test_images_are_named():
    data = dataset()
    with pytest.raises(ValueError, match="data must hold at least two test images, got 0: pass a test split"):
        experiment.evaluate(pair(), replace(data, test=Split(data.test.images[:0])), num_samples=5)


def test_table_has_a_row_a_model():
    one = experiment.Results(-23.456, 0.214, -24.1, {"z": 9}, 0.125, {}, 300, 1000, 0, 0.1234)
    two = replace(one, log_likelihood=-101.0, active_units={"z1": 9, "z2": 3}, seconds_per_epoch=None)
    head, first, second = experiment.table({"a": one, "longer": two}).splitlines()
    assert len(head) == len(first) == len(second)
    assert first.split() == ["a", "-23.46", "±", "0.21", "-24.10", "9", "12.5", "%", "-", "0.123"]
    assert second.split() == ["longer", "-101.00", "±", "0.21", "-24.10", "z1", "9,", "z2", "3", "12.5", "%", "-", "?"]
    drawn = replace(one, encoder_log_likelihood=-25.0, encoder_standard_error=0.3)
    head, _, last = experiment.table({"a": one, "d": drawn}).splitlines()
    assert "by the encoder" in head
    assert last.split()[:7] == ["d", "-23.46", "±", "0.21", "-25.00", "±", "0.30"]
    certified = replace(one, later_share=0.25, gap=0.754, gap_error=0.5, trusted_gap=0.054, trusted_gap_error=0.03)
    head, _, last = experiment.table({"a": one, "c": certified}).splitlines()
    assert "gap of bounds  of those not flagged" in head
    expected = "c -23.46 ± 0.21 0.75 ± 0.50 0.05 ± 0.03 -24.10 9 12.5 % 25.0 % 0.123"
    assert last.split() == expected.split()
    grown = VAE(
        StandardNormal(LATENT), BernoulliLikelihood(mlp(LATENT, [4], 6)), GaussianPosterior(mlp(6, [4], 2 * LATENT))
    )
    images = Dataset.from_tensors(*(torch.randint(0, 2, (8, 6)).to(torch.get_default_dtype()) for _ in range(3)))
    results = experiment.evaluate(grown, images, num_images=2, certified=1, encoder_samples=40)[0]
    by_hand = log_likelihood(grown, images.test.images[evenly_spaced(8, 2)], 40, proposal="guide", seed=0)
    assert (results.encoder_log_likelihood, results.encoder_standard_error) == (by_hand.mean, by_hand.standard_error)
    assert abs(results.gap) < 1.0
    assert results.trusted_gap in (results.gap, None)
    assert results.gap_error is results.trusted_gap_error is None  # of a single datum
    assert results.later_share is not None
    assert results.num_samples == 2000


@pytest.mark.slow
def test_grey_data_get_bits_per_dimension():
    """A likelihood that does not depend on z gives each of 2 x 3 pixels its own known distribution."""
    grey = Dataset.from_tensors(*(torch.randint(0, 256, (20, 1, 2, 3)) / 255 for _ in range(3)), num_bins=256)
    likelihood = DiscretizedLogisticLikelihood(nn.Linear(LATENT, 12), grey.mean)
    nn.init.zeros_(likelihood.net.weight)
    model = VAE(StandardNormal(LATENT), likelihood, GaussianPosterior(mlp(6, [], 2 * LATENT)))
    results = experiment.evaluate(model, grey, num_samples=2000)[0]
    exact = likelihood(torch.zeros(LATENT)).log_prob(grey.test.images) / (-6 * math.log(2))
    assert results.bits_per_dimension == pytest.approx(exact.mean().item(), abs=0.01)
    assert results.bits_standard_error == pytest.approx(exact.std().item() / 20**0.5, rel=0.02)
    assert results.bits_per_dimension * -6 * math.log(2) == pytest.approx(results.log_likelihood)
    head, row = experiment.table({"grey": results}).splitlines()
    assert "bits/dim" in head
    assert f" {results.bits_per_dimension:.3f} ± {results.bits_standard_error:.3f} " in row
    binary = replace(results, bits_per_dimension=None, bits_standard_error=None)
    assert "bits/dim" not in experiment.table({"binary": binary})
    mixed = experiment.table({"grey": results, "binary": binary}).splitlines()
    assert len({len(line) for line in mixed}) == 1
    assert experiment.evaluate(coins(dataset().mean), dataset(), num_samples=4)[0].bits_per_dimension is None
    pseudo = VAE(StandardNormal(2), GreyBernoulliLikelihood(nn.Linear(2, 6)), GaussianPosterior(nn.Linear(6, 4)))
    assert experiment.evaluate(pseudo, grey, num_samples=4)[0].bits_per_dimension is None


@pytest.mark.slow
def test_bits_are_those_of_the_data_alone():
    """Grey levels that are all equally likely cost 8 bits per pixel; only their own 256 bins may be counted in bits."""
    levels = torch.arange(256).repeat(6).reshape(6, 16, 16) / 255
    grey = Dataset.from_tensors(levels, test=levels, num_bins=256)
    binary = Dataset.from_tensors(levels.round(), test=levels.round())

    def bits(likelihood, data=grey):
        model = VAE(StandardNormal(1), likelihood, GaussianPosterior(nn.Linear(256, 2)))
        found = experiment.evaluate(model, data, num_samples=20)[0].bits_per_dimension
        assert (found is not None) == has_bits(model, data)
        return found

    def pixelcnn(num_bins):
        net = PixelCNN((1, 16, 16), 1, hidden=2, layers=1, outputs=1 if num_bins is None else 2)
        return PixelCNNLikelihood(nn.Linear(1, 256), net, num_bins)

    assert bits(DiscretizedLogisticLikelihood(nn.Linear(1, 512), num_bins=256)) > 8
    assert bits(pixelcnn(256)) > 8
    for other in (16, 257):
        assert bits(DiscretizedLogisticLikelihood(nn.Linear(1, 512), num_bins=other)) is None
        assert bits(pixelcnn(other)) is None
    assert bits(GaussianLikelihood(nn.Linear(1, 256), scale=0.01)) is None
    assert bits(pixelcnn(None), binary) is None
