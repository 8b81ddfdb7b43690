import pytest
import torch
from pyro.distributions import Bernoulli

from pyrodgm.distributions import FactorizedBernoulli


@pytest.mark.parametrize("features", [1, 64, 101, 784])
@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-7), (torch.float64, 1e-14), (torch.float16, 4e-3)])
def test_both_ways_to_the_density_equal_the_sum_of_single_ones(features, scale, dtype, tolerance):
    logits = (scale * torch.randn(6, features)).to(dtype)
    x = torch.rand(features).round().to(dtype)
    exact = Bernoulli(logits=logits.double()).to_event(1).log_prob(x.double())
    rounding = tolerance * logits.double().abs().add(1).sum(-1)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            got = FactorizedBernoulli(logits).log_prob(x)
        assert got.dtype == dtype
        assert ((got.double() - exact).abs() <= rounding).all()


def test_gradients_and_relaxed_values():
    logits, x = (5 * torch.randn(4, 30)).requires_grad_(), torch.rand(4, 30)
    got = FactorizedBernoulli(logits, validate_args=False).log_prob(x).sum()
    (gradient,) = torch.autograd.grad(got, logits)
    torch.testing.assert_close(gradient, x - logits.sigmoid())
    with torch.no_grad():
        torch.testing.assert_close(FactorizedBernoulli(logits, validate_args=False).log_prob(x).sum(), got)


def test_it_stays_itself_when_expanded():
    p = FactorizedBernoulli(torch.zeros(2, 5)).expand((3, 2))
    assert type(p) is FactorizedBernoulli
    assert p.log_prob(torch.ones(5)).shape == (3, 2)
