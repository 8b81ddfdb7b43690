"""Annealing over binary latents, against enumeration."""

import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.distributions import ExponentialSmoothing
from pyrodgm.infer import bidirectional, log_likelihood
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import DVAE, Pair
from pyrodgm.nn import mlp
from pyrodgm.posteriors import HierarchicalPosterior, OverlappingLatents
from pyrodgm.priors import BoltzmannPrior


def small_dvae():
    torch.manual_seed(0)
    prior = BoltzmannPrior(4, 4, sampler="exact")
    for parameter in prior.parameters():
        nn.init.normal_(parameter)
    latents = [OverlappingLatents(ExponentialSmoothing(8.0))] * 2
    posterior = HierarchicalPosterior([mlp(20, [8], 4), mlp(24, [8], 4)], latents, [4, 4])
    pair = DVAE(prior, BernoulliLikelihood(mlp(8, [8], 20)), posterior)
    for parameter in [*pair.posterior.parameters(), *pair.likelihood.parameters()]:
        parameter.data.mul_(1.5)
    return pair.discrete().eval()


def evidence(pair, x):
    bits = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)))
    with torch.no_grad():
        return (pair.prior().log_prob(bits).unsqueeze(-1) + pair.likelihood(bits.unsqueeze(1)).log_prob(x)).logsumexp(0)


@pytest.mark.slow
def test_bits_of_a_boltzmann_machine_by_enumeration():
    pair = small_dvae()
    x = torch.rand(6, 20).round()
    exact = evidence(pair, x)
    guide = log_likelihood(pair, x, 5000, proposal="guide", seed=0)
    found = log_likelihood(pair, x, 20_000, proposal="refined", seed=0)
    assert (found.stage == 3).all()
    assert found.evaluations <= 20_000
    error, before = (result.values - exact for result in (found, guide))
    assert error.square().mean() < 0.2 * before.square().mean()
    assert error.abs().max() < 1.5


@pytest.mark.slow
def test_bounds_of_bits_from_both_sides_hold_the_sum_over_all_bits():
    pair = small_dvae()
    found = bidirectional(pair, 60, torch.zeros(1, 20), temperatures=300, seed=0)
    above = found.upper - evidence(pair, found.lower.x)
    assert found.lower.attributes["proposal"] == "guide"
    assert -0.05 < above.mean() < 0.3
    assert found.gap > 0.0
    loose = bidirectional(pair, 60, torch.zeros(1, 20), temperatures=3, seed=0)
    assert (loose.upper - evidence(pair, loose.lower.x)).mean() > above.mean() + 0.3


class Bits(Pair):
    """Two sites of independent bits, one without event dimensions, and a guide that is sure of zeros."""

    def __init__(self):
        super().__init__()
        self.W = nn.Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(3)))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            y = pyro.sample("y", dist.Bernoulli(torch.tensor(0.3)))
            z = pyro.sample("z", dist.Bernoulli(torch.full((3,), 0.5)).to_event(1))
            both = torch.cat([y.unsqueeze(-1), z], -1)
            pyro.sample("x", dist.Normal(both @ self.W.T, 1.0).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Bernoulli(torch.full((3,), 0.1)).to_event(1))
            pyro.sample("y", dist.Bernoulli(torch.tensor(0.1)))

    def evidence(self, x):
        bits = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
        prior = torch.where(bits[:, 0] > 0, math.log(0.3), math.log(0.7)) - 3 * math.log(2)
        given = dist.Normal((bits @ self.W.T).unsqueeze(1), 1.0).to_event(1).log_prob(x)
        return (prior.unsqueeze(-1) + given).logsumexp(0).detach()


@pytest.mark.slow
def test_sites_of_bits_of_any_shape():
    pair = Bits()
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    found = log_likelihood(pair, x, 20_000, proposal="refined", seed=0)
    assert ((found.values - pair.evidence(x)).abs() < 4.5 / found.ess.sqrt()).all()
    eager = log_likelihood(pair, x, 20_000, proposal="refined", seed=0, compile="eager")
    assert torch.allclose(eager.values, found.values)


def test_what_annealing_cannot_do_the_guide_does():
    pair, x = Bits(), torch.zeros(1, 6)
    with pytest.warns(UserWarning, match="num_samples must be at least 720, got 700"):
        assert (log_likelihood(pair, x, 700, proposal="refined").stage == 0).all()
    assert log_likelihood(pair, x, 1000, keep=True).draws["z"].shape == (1000, 1, 3)
