"""The pseudo-likelihood of grey values against torch's cross-entropy and the binary images it averages over."""

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy

from pyrodgm.likelihoods import BernoulliLikelihood, GreyBernoulli, GreyBernoulliLikelihood


def test_is_the_cross_entropy_of_grey_values():
    mean, x, z = torch.rand(6), torch.rand(5, 6), torch.randn(5, 6)
    grey = GreyBernoulliLikelihood(nn.Identity(), mean=mean)(z)
    expected = -binary_cross_entropy(torch.sigmoid(z + torch.logit(mean, eps=1e-3)), x, reduction="none").sum(-1)
    torch.testing.assert_close(grey.log_prob(x), expected)
    assert (grey.batch_shape, grey.event_shape) == ((5,), (6,))


def test_is_the_expected_log_likelihood_of_binarised_images():
    x, z = torch.rand(6), torch.randn(6)
    draws = torch.bernoulli(x.expand(100_000, 6))
    each = BernoulliLikelihood(nn.Identity())(z).log_prob(draws)
    grey = GreyBernoulliLikelihood(nn.Identity())(z).log_prob(x)
    assert abs(each.mean() - grey) < 5 * each.std() / 100_000**0.5
    binary = torch.bernoulli(x)
    exact = dist.Bernoulli(logits=z).log_prob(binary).sum()
    torch.testing.assert_close(GreyBernoulliLikelihood(nn.Identity())(z).log_prob(binary), exact)


def test_accepts_grey_values_alone_and_draws_binary_ones():
    fn = GreyBernoulli(logits=torch.zeros(3), validate_args=True)
    with pytest.raises(ValueError, match="support"):
        fn.log_prob(torch.tensor([0.5, 1.2, 0.0]))
    with pytest.raises(ValueError, match="support"):
        GreyBernoulliLikelihood(nn.Identity())(torch.zeros(3)).log_prob(torch.tensor([0.5, 1.2, 0.0]))
    draws = fn.expand((200, 3)).sample()
    assert fn.expand((200, 3)).support is fn.support
    assert set(draws.unique().tolist()) == {0.0, 1.0}
