"""Small pairs that several test files use, with what is known of them in closed form."""

from typing import ClassVar

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule, pyro_method
from torch import nn

from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE, Pair
from pyrodgm.nn import StickWeights, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import GEMPrior, MixtureOfGaussians, StandardNormal, VampPrior


def small_vae(pixels, latent, hidden, *, pseudo_inputs=0, mean=0.5, layer=None, encoder=None):
    """A VAE of binary images with one hidden layer a network; a VampPrior if there are to be pseudo-inputs."""
    kind = {} if layer is None else {"layer": layer}
    posterior = GaussianPosterior(encoder or mlp(pixels, [hidden], 2 * latent, **kind))
    prior = StandardNormal(latent)
    if pseudo_inputs:
        prior = VampPrior.around_mean(posterior, pseudo_inputs, torch.full((pixels,), mean))
    return VAE(prior, BernoulliLikelihood(mlp(latent, [hidden], pixels)), posterior)


def small_mixture():
    """Three latents under a mixture, of five pixels."""
    return VAE(MixtureOfGaussians(3, 4), BernoulliLikelihood(mlp(3, [7], 5)), GaussianPosterior(mlp(5, [7], 6)))


def small_sticks():
    """Four sticks, of five pixels."""
    decoder = nn.Sequential(StickWeights(), *mlp(4, [7], 5))
    return VAE(
        GEMPrior(4, 5.0), BernoulliLikelihood(decoder), StickBreakingPosterior(mlp(5, [7], 6), "kumaraswamy", 5.0)
    )


class ProbabilisticPCA(Pair):
    """x = W z + b + noise; the guide is the posterior, stretched."""

    guide_runs: ClassVar[list] = []  # of all such pairs: one that counted them itself could not be traced

    def __init__(self, stretch=1.0, shift=0.0, noise=0.5, data=6, latent=3):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.W = nn.Parameter(torch.randn(data, latent, generator=generator, dtype=torch.float64))
        self.b = nn.Parameter(torch.randn(data, generator=generator, dtype=torch.float64))
        self.noise, self.stretch, self.shift = noise, stretch, shift

    def posterior(self, x):
        precision = torch.eye(self.W.shape[1]) + self.W.T @ self.W / self.noise**2
        covariance = torch.linalg.inv(precision)
        mean = (x - self.b) @ self.W @ covariance / self.noise**2
        return dist.MultivariateNormal(mean + self.shift, self.stretch**2 * covariance)

    @pyro_method
    def model(self, x):
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(self.W.shape[1]), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.W.T + self.b, self.noise).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        self.guide_runs.append(x.shape)
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("z", self.posterior(x))

    def evidence(self, x):
        return (
            dist.MultivariateNormal(self.b, self.W @ self.W.T + self.noise**2 * torch.eye(len(self.W)))
            .log_prob(x)
            .detach()
        )


class LinearGaussian(PyroModule):
    """x | z ~ N(a z, 1), z ~ N(0, 1), guided by N(m x, s²); evidence N(x; 0, a² + 1)."""

    def __init__(self, slope=0.3, log_scale=-0.2, size=None, subsample_size=None, weight=0.8):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(float(weight)))
        self.m = nn.Parameter(torch.tensor(float(slope)))
        self.log_s = nn.Parameter(torch.tensor(float(log_scale)))
        self.size, self.subsample_size = size, subsample_size

    def plate(self, x):
        return pyro.plate("data", self.size or len(x), subsample=torch.arange(len(x)), dim=-1)

    @pyro_method
    def model(self, x):
        with self.plate(x):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(self.a * z, 1.0), obs=x)

    @pyro_method
    def guide(self, x):
        with self.plate(x):
            pyro.sample("z", dist.Normal(self.m * x, self.log_s.exp()))

    def evidence(self, x):
        return dist.Normal(0.0, (self.a**2 + 1).sqrt()).log_prob(x)

    def exact(self):
        """The guide that is the posterior."""
        precision = self.a.detach() ** 2 + 1
        return LinearGaussian(self.a.item() / precision, -0.5 * precision.log(), self.size, weight=self.a.item())
