"""What the generic test does not ask of the mixture of very many Normals."""

import math

import pytest
import torch

from pyrodgm.distributions import DiagNormalMixture, IsotropicNormalMixture


@pytest.mark.parametrize("log_variance", [-6.0, 0.0, 2.0])
def test_many_components_in_float32(log_variance):
    """As a prior over 40 latents has them, over the range that variances can take."""
    loc, scale = torch.randn(5000, 40), torch.tensor(math.exp(log_variance / 2))
    z = loc[:200] + 0.5 * torch.randn(200, 40)
    exact = DiagNormalMixture(torch.zeros(5000), loc, scale.expand(5000, 40)).log_prob(z)
    found = IsotropicNormalMixture(torch.zeros(5000).float(), loc.float(), scale.float()).log_prob(z.float())
    bound = 1e-7 * (z.square().sum(-1) / scale.square()).clamp(min=1e3)
    assert ((found - exact).abs() < 10 * bound).all()
    wide = IsotropicNormalMixture(torch.zeros(5000), loc, scale).log_prob(z)
    assert torch.allclose(wide, exact, rtol=1e-12)


def test_locations_far_from_the_origin_cost_no_accuracy():
    loc, z = torch.randn(50, 3), torch.randn(7, 3)
    near = IsotropicNormalMixture(torch.zeros(50), loc, torch.tensor(0.1)).log_prob(z)
    far = IsotropicNormalMixture(torch.zeros(50).float(), loc.float() + 64, torch.tensor(0.1).float())
    assert torch.allclose(far.log_prob(z.float() + 64).double(), near, rtol=2e-3)


def test_a_batch_shares_components_with_weights_of_its_own():
    logits, loc, z = torch.randn(4, 6), torch.randn(6, 3), torch.randn(5, 4, 3)
    logits[1, 2] = -math.inf
    shared = IsotropicNormalMixture(logits, loc, torch.tensor(0.7))
    own = DiagNormalMixture(logits, loc.expand(4, 6, 3), torch.full((4, 6, 3), 0.7))
    assert shared.batch_shape == (4,)
    assert torch.allclose(shared.log_prob(z), own.log_prob(z))
    assert shared.sample((2,)).shape == (2, 4, 3)


def test_component_of_no_weight_is_never_drawn_and_gets_no_gradient():
    loc = torch.tensor([[-5.0], [0.0], [5.0]], requires_grad=True)
    mixture = IsotropicNormalMixture(torch.tensor([-math.inf, 0.0, -math.inf]), loc, torch.tensor(0.01))
    assert mixture.sample((1000,)).abs().max() < 1
    mixture.log_prob(torch.zeros(4, 1)).sum().backward()
    assert torch.isfinite(loc.grad).all()
    assert (loc.grad[[0, 2]] == 0).all()


def test_share_of_a_larger_mixture_bounds_it_from_below():
    logits, loc, z = torch.randn(6), torch.randn(6, 2), torch.randn(50, 2)
    whole = IsotropicNormalMixture(logits, loc, torch.tensor(0.5)).log_prob(z)
    share = logits.log_softmax(-1)[:4].logsumexp(-1)
    part = IsotropicNormalMixture(logits[:4], loc[:4], torch.tensor(0.5), share).log_prob(z)
    rest = IsotropicNormalMixture(logits[4:], loc[4:], torch.tensor(0.5), (1 - share.exp()).log()).log_prob(z)
    assert torch.allclose(torch.logaddexp(part, rest), whole)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"logits and loc must be \[\*batch, K\]"):
        IsotropicNormalMixture(torch.zeros(3), torch.zeros(4, 2), torch.tensor(1.0))
