"""Log-space functions against mpmath."""

import mpmath as mp
import pytest
import torch

from pyrodgm.arithmetic import normal_cdf
from pyrodgm.distributions import GaussianSmoothing, NormalLogit

POINTS = [-35.0, -12.0, -9.0, -3.0, 0.0, 2.0, 12.0]


def exact(points):
    with mp.workdps(30):
        return torch.tensor([float(mp.ncdf(x)) for x in points])


def test_the_normal_distribution_function_is_exact_in_the_lower_tail():
    at = torch.tensor(POINTS, requires_grad=True)
    below = normal_cdf(at)
    torch.testing.assert_close(below, exact(POINTS), rtol=1e-12, atol=0)
    slope = torch.autograd.grad(below.sum(), at)[0]
    torch.testing.assert_close(slope, torch.tensor([float(mp.npdf(x)) for x in POINTS]), rtol=1e-12, atol=0)
    # float32 has no number below 1e-45
    torch.testing.assert_close(normal_cdf(at.detach().float()[1:]).double(), exact(POINTS[1:]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_so_are_those_of_distributions_with_normal_tails(scale):
    at = torch.tensor(POINTS)
    logits = NormalLogit(torch.tensor(1.0), torch.tensor(scale))
    torch.testing.assert_close(logits.cdf(1.0 + scale * at), exact(POINTS), rtol=1e-11, atol=0)
    smoothing = GaussianSmoothing(1.0 / scale**2)
    torch.testing.assert_close(smoothing.cdf(1.0 + scale * at, 1.0), exact(POINTS), rtol=1e-11, atol=0)
