import math

import pytest
import torch
from torch import nn

from pyrodgm.likelihoods import BernoulliLikelihood


def test_untrained_net_of_zeros_predicts_the_mean():
    mean = torch.tensor([0.0, 0.25, 1.0])
    p = BernoulliLikelihood(nn.Identity(), mean)(torch.zeros(2, 3))
    assert torch.allclose(p.mean, torch.tensor([0.001, 0.25, 0.999]).expand(2, 3))
    log_prob = p.log_prob(torch.tensor([0.0, 1.0, 1.0]))
    assert torch.allclose(log_prob, torch.full((2,), math.log(0.999 * 0.25 * 0.999)))


def test_logits_of_any_size_have_finite_log_probabilities():
    p = BernoulliLikelihood(nn.Identity())(torch.tensor([1e4, -1e4]))
    assert p.log_prob(torch.tensor([0.0, 1.0])).item() == pytest.approx(-2e4)


def test_mean_outside_the_unit_interval_is_refused():
    for bad in (torch.tensor([1.5]), torch.tensor([math.nan])):
        with pytest.raises(ValueError, match=r"mean must lie in \[0, 1\]"):
            BernoulliLikelihood(nn.Identity(), bad)
