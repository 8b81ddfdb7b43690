"""DiscretizedLogistic at any scale, against mpmath."""

import mpmath as mp
import pytest
import torch

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


def test_bad_number_of_bins():
    with pytest.raises(ValueError, match="num_bins of at least 2, got 1"):
        DiscretizedLogistic(0.5, 0.0, num_bins=1)
