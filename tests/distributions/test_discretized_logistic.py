"""DiscretizedLogistic at any scale, against mpmath."""

import math

import mpmath as mp
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyrodgm.distributions import DiscretizedLogistic


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("num_bins", [2, 256])
def test_sums_to_one_at_any_scale(num_bins, dtype):
    loc = torch.tensor([-3.0, 0.0, 0.3, 0.50196, 1.0, 9.0], dtype=dtype)
    log_scale = torch.tensor([-60.0, -12.0, -7.0, -4.5, 0.0, 5.0, 30.0], dtype=dtype).unsqueeze(-1).requires_grad_()
    d = DiscretizedLogistic(loc.requires_grad_(), log_scale, num_bins)
    log_prob = d.log_prob(d.enumerate_support())
    assert log_prob.isfinite().all()
    torch.testing.assert_close(log_prob.exp().sum(0), torch.ones(7, 6, dtype=dtype))
    assert all(g.isfinite().all() for g in torch.autograd.grad(log_prob.sum(), (loc, log_scale)))


def test_far_bins_against_mpmath():
    points = [(255, 0.1, -6.0), (0, 0.9, -4.5), (128, 0.5, 3.0), (7, 0.99, -5.0), (200, -2.0, 6.0)]
    with mp.workdps(200):
        for k, loc, log_scale in points:
            scale = mp.exp(mp.mpf(log_scale))
            above = 1 if k == 255 else 1 / (1 + mp.exp((mp.mpf(loc) - (k + mp.mpf(0.5)) / 255) / scale))
            below = 0 if k == 0 else 1 / (1 + mp.exp((mp.mpf(loc) - (k - mp.mpf(0.5)) / 255) / scale))
            got = DiscretizedLogistic(loc, log_scale).log_prob(torch.tensor(k / 255)).item()
            assert abs(got / mp.log(above - below) - 1) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_samples_are_bins(dtype):
    d = DiscretizedLogistic(torch.tensor([0.4, 1.2], dtype=dtype), torch.tensor(-2.0, dtype=dtype))
    draws = d.sample((5000,))
    assert (draws.unsqueeze(-1) == d.enumerate_support(expand=False).view(-1)).any(-1).all()
    for bins in (10, 128, 254, 255):
        value = d.enumerate_support()[bins]
        expected = d.log_prob(d.enumerate_support()[: bins + 1]).exp().sum(0)
        torch.testing.assert_close(d.cdf(value), expected)
        share = (draws <= value).double().mean(0)
        assert (share - expected).abs().max() < 6 * 0.5 / 5000**0.5


def test_byte_images_fall_on_bins():
    image = torch.arange(256, dtype=torch.uint8).float() / 255
    d = DiscretizedLogistic(torch.tensor(0.3), torch.tensor(-3.0))
    torch.testing.assert_close(d.log_prob(image), d.log_prob(d.enumerate_support()), check_dtype=False)


@pytest.mark.parametrize("log_scale", [700.0, 740.0, 745.0, 800.0, 1e6])
def test_hardly_any_probability_inside(log_scale):
    """The inner bins have their width over four scales; half of what is left of it lies on either side."""
    scale = torch.tensor(log_scale, requires_grad=True)
    values = torch.tensor([0.0, 0.5, 1.0])
    log_prob = DiscretizedLogistic(0.3, scale).log_prob(values)
    half = -math.log(2.0)
    torch.testing.assert_close(log_prob, torch.tensor([half, -log_scale - math.log(4 * 255), half]))
    slopes = [torch.autograd.grad(each, scale, retain_graph=True)[0].item() for each in log_prob]
    assert slopes == pytest.approx([0.0, -1.0, 0.0], abs=1e-15)


@pytest.mark.parametrize("num_bins", [2, 17, 256])
def test_moments_against_enumeration(num_bins):
    loc = torch.tensor([-3.0, 0.0, 0.3, 0.50196, 100.5 / 255, 1.0, 9.0])
    log_scale = torch.tensor([-60.0, -9.0, -7.0, -4.5, 0.0, 5.0, 30.0]).unsqueeze(-1)
    d = DiscretizedLogistic(loc, log_scale, num_bins)
    values, p = d.enumerate_support(), d.log_prob(d.enumerate_support()).exp()
    mean = (p * values).sum(0)
    torch.testing.assert_close(d.mean, mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(d.variance, (p * (values - mean).square()).sum(0), rtol=1e-9, atol=1e-20)
    assert ((d.mean >= 0) & (d.mean <= 1) & (d.variance >= 0)).all()


def test_moments_need_no_more_memory_than_the_images():
    class LargestTensor(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            self.size = max(self.size, out.numel() if isinstance(out, torch.Tensor) else 0)
            return out

    d = DiscretizedLogistic(torch.rand(7, 11), torch.full((7, 11), -2.0))
    with LargestTensor() as largest:
        assert d.mean.shape == d.variance.shape == (7, 11)
    assert largest.size == 7 * 11


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("num_bins", [2, 256, 65536])
def test_cdf_counts_the_bin_of_a_value_however_it_was_rounded(num_bins, dtype):
    d = DiscretizedLogistic(torch.tensor(0.4, dtype=dtype), torch.tensor(-1.0, dtype=dtype), num_bins)
    values = torch.arange(num_bins) / (num_bins - 1)
    expected = torch.sigmoid(((torch.arange(num_bins) + 0.5) / (num_bins - 1) - d.loc.double()) * math.e)
    expected[-1] = 1.0
    for rounded in (values, values.float().to(dtype), d.enumerate_support()):
        torch.testing.assert_close(d.cdf(rounded), expected.to(dtype), rtol=0, atol=2 * torch.finfo(dtype).eps)


def test_bad_number_of_bins():
    with pytest.raises(ValueError, match="num_bins must be at least 2, got 1"):
        DiscretizedLogistic(0.5, 0.0, num_bins=1)
