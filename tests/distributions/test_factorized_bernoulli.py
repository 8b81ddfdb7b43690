import pytest
import torch
from pyro.distributions import Bernoulli

from pyrodgm.distributions import FactorizedBernoulli


@pytest.mark.parametrize("features", [1, 64, 101, 784])
@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-7), (torch.float64, 1e-14), (torch.float16, 4e-3)])
def test_density_equals_the_sum_of_single_ones(features, scale, dtype, tolerance):
    logits = (scale * torch.randn(6, features)).to(dtype)
    x = torch.rand(features).round().to(dtype)
    exact = Bernoulli(logits=logits.double()).to_event(1).log_prob(x.double())
    rounding = tolerance * logits.double().abs().add(1).sum(-1)
    got = FactorizedBernoulli(logits).log_prob(x)
    assert got.dtype == dtype
    assert ((got.double() - exact).abs() <= rounding).all()


@pytest.mark.slow
def test_gradients_of_logits_and_of_relaxed_values():
    logits, x = (5 * torch.randn(4, 1, 30)).requires_grad_(), torch.rand(3, 30).requires_grad_()

    def density(logits, x):
        return FactorizedBernoulli(logits, validate_args=False).log_prob(x)

    assert torch.autograd.gradcheck(density, (logits, x))
    assert torch.autograd.gradgradcheck(density, (logits, x))
    each = torch.func.vmap(torch.func.grad(density), (0, None))(logits[:, 0], x[0])
    torch.testing.assert_close(each, x[0] - logits[:, 0].sigmoid())


def test_it_stays_itself_when_expanded():
    p = FactorizedBernoulli(torch.zeros(2, 5)).expand((3, 2))
    assert type(p) is FactorizedBernoulli
    assert p.log_prob(torch.ones(5)).shape == (3, 2)
