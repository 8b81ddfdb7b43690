"""Refined proposals where observations are missing."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import log_likelihood, refine
from pyrodgm.models import Pair

LATENT, FEATURES, NOISE = 3, 8, 1.0


class Missing(Pair):
    """Probabilistic PCA of data whose entries are missing by rows or by elements, in one of Pyro's ways."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.W = nn.Parameter(torch.randn(FEATURES, LATENT, generator=torch.Generator().manual_seed(1)))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(LATENT), 1.0).to_event(1))
            mean = z @ self.W.T
            if self.how == "elements":
                pyro.sample("x", dist.Normal(mean, NOISE).mask(x > -5.0).to_event(1), obs=x)
            elif self.how == "poutine":
                with pyro.poutine.mask(mask=x[..., 0] > -5.0):
                    pyro.sample("x", dist.Normal(mean, NOISE).to_event(1), obs=x)
            else:
                pyro.sample("x", dist.Normal(mean, NOISE).to_event(1), obs=x, obs_mask=x[..., 0] > -5.0)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.full((LATENT,), 0.2), 0.5).to_event(1))

    def evidence(self, x):
        total = torch.zeros(len(x))
        for i, row in enumerate(x):
            seen = row > -5.0 if self.how == "elements" else (row[:1] > -5.0).expand(FEATURES)
            if seen.any():
                w = self.W[seen].detach()
                covariance = w @ w.T + NOISE**2 * torch.eye(len(w))
                total[i] = dist.MultivariateNormal(torch.zeros(len(w)), covariance).log_prob(row[seen])
        return total


@pytest.mark.parametrize("how", ["elements", "poutine", "obs_mask"])
def test_evidence_of_what_is_observed(how):
    pair = Missing(how)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, FEATURES, generator=generator)
    gone = torch.rand(6, FEATURES, generator=generator) < 0.5 if how == "elements" else torch.zeros_like(x).bool()
    gone[1] = True
    x = x.masked_fill(gone, -9.0)
    found = log_likelihood(pair, x, 3000, proposal="refined", seed=0)
    assert (found.stage == 1).all()
    error = found.values - pair.evidence(x)
    assert (error.abs() < 4.5 * (1 / found.ess - 1 / found.num_samples).clamp(min=1e-6).sqrt()).all()
    assert found.ess.min() > 0.5 * found.num_samples  # the posterior is normal, its curvature that of what is seen


class MissingCovariate(Pair):
    """y ~ N(2a + z, 0.3) and a ~ N(z, 0.5), z ~ N(0, 1), with some a missing: where it is, it is a latent too."""

    def __init__(self, feeds=True):
        super().__init__()
        self.feeds = feeds
        self.slope = nn.Parameter(torch.tensor(2.0))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
            a = pyro.sample("a", dist.Normal(z, 0.5), obs=x[..., 0], obs_mask=x[..., 0] > -50.0)
            pyro.sample("y", dist.Normal(self.slope * (a if self.feeds else z) + z, 0.3), obs=x[..., 1])

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.3 * x[..., 1], 0.5))

    def evidence(self, x):
        near, far = (1.25, 3.5, 4 * 1.25 + 1 + 4 + 0.09) if self.feeds else (1.25, 3.0, 9.0 + 0.09), x[:, 0] < -50.0
        both = dist.MultivariateNormal(torch.zeros(2), torch.tensor([near[:2], near[1:]])).log_prob(x)
        return torch.where(far, dist.Normal(0.0, near[2] ** 0.5).log_prob(x[:, 1]), both)


SOME_MISSING = torch.tensor([[0.5, 1.0], [-99.0, 2.0], [-99.0, -6.0]])


def test_a_missing_value_that_feeds_another_site_is_left_to_the_guide():
    pair = MissingCovariate()
    found = log_likelihood(pair, SOME_MISSING, 40_000, seed=0)
    assert found.attributes["proposal"] == "guide"
    assert (found.values - pair.evidence(SOME_MISSING)).abs().max() < 0.05
    with pytest.warns(UserWarning, match="not refined, the guide serves: its model draws more than its latents"):
        log_likelihood(pair, SOME_MISSING, 1000, proposal="refined", seed=0)
    with pytest.raises(ValueError, match="its model draws more than its latents"):
        refine(pair, SOME_MISSING, seed=0)


def test_also_where_it_is_so_rare_that_no_probe_has_one():
    x = torch.tensor([[0.5, 1.0]]).repeat(100, 1)
    x[37, 0] = -99.0
    assert log_likelihood(MissingCovariate(), x, 1000, seed=0).attributes["proposal"] == "guide"


def test_a_missing_value_that_feeds_none_is_not():
    pair = MissingCovariate(feeds=False)
    found = log_likelihood(pair, SOME_MISSING, 4000, seed=0)
    assert found.attributes["proposal"] == "refined"
    assert (found.values - pair.evidence(SOME_MISSING)).abs().max() < 0.03


def test_a_noisy_program_is_left_to_the_guide():
    class Noisy(MissingCovariate):
        def model(self, x):
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
                pyro.sample("y", dist.Normal(z + 0.1 * torch.randn_like(z), 0.3), obs=x[..., 1])

    assert log_likelihood(Noisy(), SOME_MISSING, 1000, seed=0).attributes["proposal"] == "guide"
