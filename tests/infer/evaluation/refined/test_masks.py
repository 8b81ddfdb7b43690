"""Refined proposals where observations are missing."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import log_likelihood
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
