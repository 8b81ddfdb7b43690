"""The autoregressive likelihood: it sums to one, its samples follow it, particles agree with single passes."""

import itertools

import pytest
import torch

from pyrodgm.distributions import AutoregressiveImages, DiscretizedLogistic
from pyrodgm.likelihoods import PixelCNNLikelihood
from pyrodgm.nn import PixelCNN, mlp


def make(shape, num_bins=None):
    net = PixelCNN(shape, 2, hidden=6, layers=2, outputs=1 if num_bins is None else 2)
    likelihood = PixelCNNLikelihood(mlp(3, [], 2 * shape[1] * shape[2]), net, num_bins)
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)
    return likelihood


@pytest.mark.parametrize("shape", [(1, 2, 4), (3, 1, 3), (2, 2, 2)])
def test_probabilities_of_all_images_sum_to_one_and_samples_follow_them(shape):
    likelihood, z = make(shape), torch.randn(2, 3)
    size = shape[0] * shape[1] * shape[2]
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=size)))
    with torch.no_grad():
        p = likelihood(z).log_prob(images[:, None]).exp()
        assert torch.allclose(p.sum(0), torch.ones(2))
        draws = likelihood(z).sample((4000,))
    index = (draws * 2.0 ** torch.arange(size - 1, -1, -1)).sum(-1).long()
    counts = torch.stack([torch.bincount(i, minlength=len(images)) for i in index.T], 1)
    expected = 4000 * p
    chi2 = ((counts - expected).square() / expected).sum(0)
    assert (chi2 < len(images) + 6 * (2 * len(images)) ** 0.5).all()


@pytest.mark.slow
def test_grey_pixels_sum_to_one_over_their_values_and_are_drawn_among_them():
    likelihood, z = make((1, 1, 2), 256), torch.randn(4, 3)
    values = torch.arange(256) / 255.0
    pairs = torch.cartesian_prod(values, values)
    with torch.no_grad():
        log_p = torch.cat([likelihood(z).log_prob(part[:, None]) for part in pairs.split(8192)])
        assert torch.allclose(log_p.logsumexp(0), torch.zeros(4), atol=1e-6)
        draws = likelihood(z).sample((2000,))
        mean = (log_p.exp()[..., None] * pairs[:, None]).sum(0)
    assert torch.allclose((draws * 255).round() / 255, draws)
    assert ((draws.mean(0) - mean).abs() < 5 * draws.std(0) / 2000**0.5).all()


def test_particles_agree_with_single_passes():
    likelihood, z, x = make((3, 2, 3)), torch.randn(4, 5, 3), torch.rand(5, 18).round()
    together = likelihood(z)
    assert together.batch_shape == (4, 5)
    assert together.log_prob(x).shape == (4, 5)
    for i in range(4):
        assert torch.allclose(together.log_prob(x)[i], likelihood(z[i]).log_prob(x))
    alone = likelihood(z[2, 3])
    assert alone.batch_shape == ()
    assert torch.allclose(alone.log_prob(x[3]), together.log_prob(x)[2, 3])
    assert torch.allclose(alone.expand((5,)).log_prob(x), torch.stack([alone.log_prob(row) for row in x]))
    assert together.sample((2,)).shape == (2, 4, 5, 18)


def test_values_outside_the_support_are_refused():
    binary, grey = make((1, 2, 2)), make((1, 2, 2), 16)
    with pytest.raises(ValueError, match="support"):
        binary(torch.zeros(3)).log_prob(torch.full((4,), 0.5))
    with pytest.raises(ValueError, match="support"):
        grey(torch.zeros(3)).log_prob(torch.full((4,), 1.5))
    assert isinstance(grey(torch.zeros(3)), AutoregressiveImages)


def test_mistakes_are_named():
    net = PixelCNN((1, 2, 2), 1)
    with pytest.raises(ValueError, match="net must have 2 outputs for num_bins=256, got 1"):
        PixelCNNLikelihood(mlp(3, [], 4), net, 256)
    with pytest.raises(ValueError, match="net must have 1 outputs for num_bins=None, got 2"):
        PixelCNNLikelihood(mlp(3, [], 4), PixelCNN((1, 2, 2), 1, outputs=2))
    with pytest.raises(ValueError, match="num_bins must be at least 2, got 1"):
        PixelCNNLikelihood(mlp(3, [], 4), PixelCNN((1, 2, 2), 1, outputs=2), 1)


@pytest.mark.parametrize(("log_scale", "cut"), [(-20.0, -4.5), (-2.0, -2.0), (20.0, 0.0)])
def test_log_scales_are_cut_off(log_scale, cut):
    """A network that ignores what it sees gives each pixel the same distribution."""
    likelihood = make((1, 2, 2), 256)
    with torch.no_grad():
        likelihood.net.last.weight.zero_()
        likelihood.net.last.bias.copy_(torch.tensor([0.5, log_scale]))
    x = torch.tensor([0, 100, 160, 255]) / 255.0
    expected = DiscretizedLogistic(torch.tensor(0.5).sigmoid(), torch.tensor(cut)).log_prob(x).sum()
    assert torch.allclose(likelihood(torch.zeros(3)).log_prob(x), expected)


def test_sampling_shows_its_progress(capsys):
    make((1, 3, 2))(torch.zeros(3)).sample()
    assert capsys.readouterr().err == ""
    make((1, 3, 2))(torch.zeros(3)).sample(progress=True)
    assert "3/3" in capsys.readouterr().err
