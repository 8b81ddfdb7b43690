"""Evaluation under ``torch.inference_mode`` and of parts that ``torch.jit.trace`` made."""

import pytest
import torch
from torch import nn

from pyrodgm.infer import log_likelihood
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import StickWeights, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import GEMPrior, StandardNormal

X = (torch.rand(5, 6, generator=torch.Generator().manual_seed(0)) < 0.5).to(torch.float64)
OPTIONS = {"seed": 0, "compile": "eager", "progress": False}


def normal(decoder):
    return VAE(StandardNormal(2), BernoulliLikelihood(decoder), GaussianPosterior(mlp(6, [4], 4)))


def sticks(family):
    posterior = StickBreakingPosterior(mlp(6, [4], 6), family, concentration=0.1)
    return VAE(GEMPrior(4, 0.05), BernoulliLikelihood(nn.Sequential(StickWeights(), *mlp(4, [4], 6))), posterior)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["beta", "kumaraswamy", "logit_normal", None])
def test_inference_mode_changes_nothing(family):
    torch.manual_seed(0)
    pair = normal(mlp(2, [4], 6)) if family is None else sticks(family)
    expected = log_likelihood(pair, X, 200, **OPTIONS)
    with torch.inference_mode():
        found = log_likelihood(pair, X, 200, **OPTIONS)
    assert (found.values - expected.values).abs().max() < 1e-9


def test_a_traced_decoder_is_evaluated_as_the_one_that_it_was_made_of():
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 6))
    pair = normal(decoder)
    expected = log_likelihood(pair, X, 200, proposal="guide", **OPTIONS)
    pair.likelihood.net = torch.jit.trace(decoder, torch.zeros(3, 2))
    found = log_likelihood(pair, X, 200, proposal="guide", **OPTIONS)
    assert (found.values - expected.values).abs().max() < 1e-9
