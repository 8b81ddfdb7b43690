"""The published convolutional networks: sizes, image shapes, what their decoders give."""

import pytest
import torch

from pyrodgm.infer import active_units, reconstruct, sample_means
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.nn import GatedConv2d, MaskedConv2d
from pyrodgm.priors import StandardNormal
from pyrodgm.zoo.pairs import conv_hvae, pixel_hvae


def standard(posterior):
    return StandardNormal(3)


def convolutions(module):
    found = [m.conv for m in module.modules() if isinstance(m, GatedConv2d)]
    return [(c.in_channels, c.out_channels // 2, c.kernel_size[0], c.stride[0]) for c in found]


def test_encoders_and_decoder_are_the_published_ones():
    hvae = conv_hvae(lambda q: StandardNormal(40))
    upper = [(1, 32, 7, 1), (32, 32, 3, 2), (32, 64, 5, 1), (64, 64, 3, 2), (64, 6, 3, 1)]
    lower = [(1, 32, 3, 1), (32, 32, 3, 2), (32, 64, 3, 1), (64, 64, 3, 2), (64, 6, 3, 1)]
    assert convolutions(hvae.posterior) == upper
    assert convolutions(hvae.conditional_posterior) == lower
    assert convolutions(hvae.likelihood) == [(1, 64, 3, 1)] + [(64, 64, 3, 1)] * 3
    assert [f.in_features for f in hvae.conditional_posterior.net.join.linears] == [294, 294]
    masked = [m for m in pixel_hvae(lambda q: StandardNormal(40)).modules() if isinstance(m, MaskedConv2d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in masked] == (
        [(1, 64, 3)] + [(64, 64, 3)] * 7 + [(64, 1, 1)]
    )


@pytest.mark.slow
@pytest.mark.parametrize("build", [conv_hvae, pixel_hvae])
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 6, 4)])
def test_any_image_shape_and_number_of_channels(build, shape):
    hvae, x = build(standard, shape, latents=(2, 3), hidden=4, channels=2), torch.rand(5, *shape).flatten(1).round()
    drawn, again = sample_means(hvae, x), reconstruct(hvae, x)
    assert drawn.shape == again.shape == x.shape
    binary = ((drawn == 0) | (drawn == 1)).all() and ((again == 0) | (again == 1)).all()
    assert binary == (build is pixel_hvae)  # one has means, the other draws
    assert set(active_units(hvae, x)) == {"z1", "z2"}


def test_more_outputs_a_pixel_come_one_image_after_the_other():
    """The first D outputs are those of the first channel of the last convolution's groups."""
    hvae = conv_hvae(standard, (3, 6, 4), (2, 3), hidden=4, channels=2, likelihood=BernoulliLikelihood, outputs=2)
    last = hvae.likelihood.net.head.net[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.arange(6.0))
        logits = hvae.likelihood.net(torch.zeros(5, 2), torch.zeros(5, 3))
    assert torch.equal(logits[0].reshape(2, 3, 24)[:, :, 7], torch.arange(6.0).reshape(2, 3))


def test_grey_pixels():
    hvae = pixel_hvae(standard, (3, 4, 4), latents=(2, 3), hidden=4, channels=2, layers=2, num_bins=256)
    drawn = sample_means(hvae, torch.zeros(2, 48))
    assert torch.allclose((255 * drawn).round(), 255 * drawn)
    assert len(drawn.unique()) > 10
