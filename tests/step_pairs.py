"""Pairs for steps: one with all that a pair can hold, one with hardly anything."""

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroParam, pyro_method
from torch import nn

from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE, Pair
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import VampPrior

D = 10


class Stateful(VAE):
    """A pair with running statistics, dropout, a constrained parameter and a persistent state updated in place."""

    def __init__(self):
        encoder = nn.Sequential(nn.Linear(D, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 4))
        posterior = GaussianPosterior(encoder)
        likelihood = BernoulliLikelihood(mlp(2, [6], D))
        super().__init__(VampPrior.around_mean(posterior, 3, torch.full((D,), 0.5)), likelihood, posterior)
        self.temperature = PyroParam(torch.tensor(1.5), constraint=dist.constraints.positive)
        self.register_buffer("chain", torch.randn(4, 2))

    @pyro_method
    def model(self, x):
        with torch.no_grad():
            self.chain.mul_(0.9).add_(0.1 * torch.randn_like(self.chain))
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z", self.prior()) + self.chain.mean(0)
            pyro.sample("x", self.likelihood(z / self.temperature), obs=x)


class Tiny(Pair):
    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.full((), 0.5, dtype=torch.float32))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(1e-19 * (1e-20 * self.loc), 1.0), obs=x)

    @pyro_method
    def guide(self, x):
        pass
