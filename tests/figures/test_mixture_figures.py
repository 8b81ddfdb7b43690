"""Figures of mixtures show what their names say, in the order that they say."""

import numpy as np
import pytest
import torch
from torch import nn

from pyrodgm import plots
from pyrodgm.datasets import Dataset, Split
from pyrodgm.figures import Scene, draw_pair
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import HVAE, VAE
from pyrodgm.nn import Concatenate, Joint, StickWeights, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import GEMPrior, MixtureOfGaussians, StandardNormal
from pyrodgm.zoo.pairs import dense_dlgmm

SHAPE = (1, 2, 2)
GENERAL = {"real", "reconstructions", "samples", "active_units", "tsne"}


def mixture_figures(pair, data):
    """The figures of mixtures and of the plane."""
    figures = draw_pair(pair, Scene(pair, data))
    assert figures.keys() >= GENERAL
    return {name: figure for name, figure in figures.items() if name not in GENERAL}


@pytest.fixture
def data():
    split = Split(torch.rand(30, 4).round(), torch.arange(30) % 3)
    return Dataset.from_tensors(split, test=split, image_shape=SHAPE)


def pixels(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def linear(weight):
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.zero_()
    return layer


def test_component_means_come_in_the_order_of_their_weights(data):
    weight = torch.randn(4, 3)
    prior = MixtureOfGaussians(3, 6, learn_weights=True)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.0, 3.0, 1.0, -2.0, 2.0, 5.0]))
    vae = VAE(prior, BernoulliLikelihood(linear(weight)), GaussianPosterior(mlp(4, [], 6)))
    figures = mixture_figures(vae, data)
    expected = torch.sigmoid(prior.loc[[5, 1, 4, 2, 0, 3]] @ weight.T)
    np.testing.assert_allclose(pixels(figures["component_means"]), pixels(plots.image_grid(expected, SHAPE)))
    assert set(figures) == {"component_means"}


def test_upper_layer_of_two_is_shown_too(data):
    joint = Joint([nn.Identity(), nn.Identity()], Concatenate(), mlp(4, [], 4))
    lower = Joint([nn.Identity(), nn.Identity()], Concatenate(), mlp(6, [], 4))
    parts = GaussianPosterior(mlp(2, [], 4)), BernoulliLikelihood(joint), GaussianPosterior(mlp(4, [], 4))
    figures = mixture_figures(HVAE(MixtureOfGaussians(2, 5), *parts, GaussianPosterior(lower)), data)
    assert set(figures) == {"component_means", "manifold", "encodings"}


def test_two_stick_weights_lie_on_a_line_and_have_no_manifold(data):
    likelihood = BernoulliLikelihood(nn.Sequential(StickWeights(), mlp(2, [], 4)))
    figures = mixture_figures(VAE(GEMPrior(2, 2.0), likelihood, StickBreakingPosterior(mlp(4, [], 2))), data)
    assert "manifold" not in figures


def test_manifold_runs_through_the_quantiles_of_the_prior(data):
    """To the right the first latent grows, upwards the second."""
    weight = torch.tensor([[9.0, 0.0], [0.0, 9.0], [0.0, 0.0], [0.0, 0.0]])
    vae = VAE(StandardNormal(2), BernoulliLikelihood(linear(weight)), GaussianPosterior(mlp(4, [], 4)))
    figures = mixture_figures(vae, data)
    assert set(figures) == {"manifold", "encodings"}
    tiles = pixels(figures["manifold"])
    side = (len(tiles) - 1) // 20
    first, second = tiles[1::side, 1::side], tiles[1::side, 2::side]
    assert first.shape == second.shape == (20, 20)
    assert (np.diff(first, axis=1) >= 0).all()
    assert (np.diff(second, axis=0) <= 0).all()
    assert first[0, 0] < 0.01 < 0.99 < first[0, -1]
    assert abs(first[:, :10].mean() + first[:, 10:].mean() - 1) < 0.1


@pytest.mark.slow
def test_latent_weights(data):
    pair = dense_dlgmm(4, num_components=3, latent=2, hidden=(5,), components="spread", spread=3.0)
    figures = mixture_figures(pair, data)
    names = {"component_usage", "component_samples", "component_reconstructions", "manifold", "encodings"}
    assert set(figures) == names
    rows = pixels(figures["component_reconstructions"])
    top = plots.image_grid(data.test.images[torch.arange(12) * 30 // 12], SHAPE, columns=12)
    np.testing.assert_array_equal(rows[:3], pixels(top)[:3])
    heights = [bar.get_height() for bar in figures["component_usage"].axes[0].patches]
    assert sum(heights[:3]) == pytest.approx(1)
    assert sum(heights[3:6]) == pytest.approx(1)
    assert "component_samples" not in mixture_figures(dense_dlgmm(4, 3, 3, (5,)), data)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"points: expected finite ones \[N, 2\]"):
        plots.scatter_by_class(torch.zeros(3, 3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"labels: expected \[3\]"):
        plots.scatter_by_class(torch.zeros(3, 2), torch.zeros(2))
    with pytest.raises(ValueError, match=r"weights: expected \[N, K\] on the simplex"):
        plots.component_usage(torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"prior: expected \[2\]"):
        plots.component_usage(torch.full((3, 2), 0.5), torch.full((3,), 1 / 3))
    with pytest.raises(ValueError, match="groups: expected images of at least one group"):
        plots.side_by_side({}, SHAPE)
    with pytest.raises(ValueError, match=r"groups\['b'\]: expected values in \[0, 1\]"):
        plots.side_by_side({"a": torch.zeros(2, 4), "b": torch.full((2, 4), 2.0)}, SHAPE)


def test_side_by_side_shows_each_group():
    a, b = torch.rand(6, 4), torch.rand(9, 4)
    figure = plots.side_by_side({"a": a, "b": b}, SHAPE, columns=3)
    for axes, images in zip(figure.axes, (a, b), strict=True):
        expected = pixels(plots.image_grid(images, SHAPE, columns=3))
        np.testing.assert_array_equal(np.asarray(axes.images[0].get_array()), expected)


@pytest.mark.slow
def test_scatter_puts_points_where_they_are():
    points, labels = torch.randn(20, 2), torch.arange(20) % 4
    collections = plots.scatter_by_class(points, labels).axes[0].collections
    assert len(collections) == 4
    for i, collection in enumerate(collections):
        np.testing.assert_allclose(np.asarray(collection.get_offsets()), points[labels == i].numpy())
