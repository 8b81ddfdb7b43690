import math

import pytest
import torch
from scipy.special import expit
from torch import nn

from pyrodgm.likelihoods import DiscretizedLogisticLikelihood
from pyrodgm.nn import mlp


def reference(x, loc, log_scale, bins):
    """log P(x) of one pixel as a difference of two logistic distribution functions."""
    k, s, width = round(x * (bins - 1)), math.exp(log_scale), 1 / (bins - 1)
    upper = 1.0 if k == bins - 1 else expit((x + width / 2 - loc) / s)
    lower = 0.0 if k == 0 else expit((x - width / 2 - loc) / s)
    return math.log(upper - lower)


@pytest.mark.parametrize("bins", [2, 16, 256])
def test_density_is_that_of_the_formula(bins):
    x = torch.tensor([0.0, 1.0, 3 / (bins - 1) if bins > 2 else 1.0])
    output = torch.tensor([0.3, -1.0, 2.0, -3.0, -1.5, -0.5])
    found = DiscretizedLogisticLikelihood(nn.Identity(), num_bins=bins)(output).log_prob(x)
    expected = sum(
        reference(float(value), expit(float(logit)), float(log_scale), bins)
        for value, logit, log_scale in zip(x, output[:3], output[3:], strict=True)
    )
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_probabilities_of_all_images_of_two_pixels_sum_to_one():
    likelihood = DiscretizedLogisticLikelihood(mlp(3, [4], 4), num_bins=16)
    levels = torch.arange(16.0) / 15
    images = torch.cartesian_prod(levels, levels)
    assert likelihood(torch.randn(3)).log_prob(images).exp().sum().item() == pytest.approx(1.0)


def test_scales_are_cut_off():
    output = torch.tensor([[0.4, -9.0], [0.4, -4.5], [0.4, 2.0], [0.4, 0.0]])
    log_prob = DiscretizedLogisticLikelihood(nn.Identity())(output).log_prob(torch.full((4, 1), 153 / 255))
    torch.testing.assert_close(log_prob[[0, 2]], log_prob[[1, 3]])
    assert abs(log_prob[1] - log_prob[2]) > 1
    assert log_prob[0].item() == pytest.approx(reference(153 / 255, expit(0.4), -4.5, 256))
    assert log_prob[2].item() == pytest.approx(reference(153 / 255, expit(0.4), 0.0, 256))


def test_image_shapes_and_flat_ones_agree():
    output = torch.randn(5, 6, 4, 3)
    x = torch.randint(0, 256, (5, 3, 4, 3)) / 255
    image = DiscretizedLogisticLikelihood(nn.Identity(), torch.rand(3, 4, 3), event_dim=3)
    flat = DiscretizedLogisticLikelihood(nn.Identity(), image.bias.sigmoid().flatten())
    p = image(output)
    assert (p.batch_shape, p.event_shape) == ((5,), (3, 4, 3))
    assert torch.allclose(p.log_prob(x), flat(output.flatten(1)).log_prob(x.flatten(1)))


def test_untrained_net_of_zeros_is_centred_at_the_mean():
    mean = torch.tensor([0.0, 0.25, 1.0])
    p = DiscretizedLogisticLikelihood(nn.Identity(), mean)(torch.zeros(2, 6))
    assert torch.allclose(p.base_dist.loc, torch.tensor([0.001, 0.25, 0.999]).expand(2, 3))


def test_several_latents_reach_the_network():
    likelihood = DiscretizedLogisticLikelihood(nn.Bilinear(2, 3, 8))
    assert likelihood(torch.randn(7, 2), torch.randn(7, 3)).sample().shape == (7, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": torch.tensor([1.5])}, r"mean must lie in \[0, 1\]"),
        ({"log_scale_range": (0.0, -4.5)}, "log_scale_range must be increasing"),
        ({"event_dim": 0}, "event_dim must be at least 1, got 0"),
        ({"num_bins": 1}, "num_bins must be at least 2, got 1"),
    ],
    ids=["mean", "log_scale_range", "event_dim", "num_bins"],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DiscretizedLogisticLikelihood(nn.Identity(), **arguments)


def test_a_net_of_the_wrong_size_is_named():
    with pytest.raises(ValueError, match=r"a location and a scale for each value, got \[2, 3\]"):
        DiscretizedLogisticLikelihood(nn.Identity())(torch.zeros(2, 3))
