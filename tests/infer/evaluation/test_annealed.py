"""Annealed importance sampling over latents against exact evidence."""

import pytest
import torch
from adversarial_pairs import data, gan
from torch import nn

from pyrodgm.infer import annealed_log_likelihood, refine
from pyrodgm.likelihoods import BernoulliLikelihood, GaussianLikelihood, ImplicitLikelihood
from pyrodgm.models import GAN, VAE, DensityNetwork
from pyrodgm.nn import Dense, Discriminator, mlp
from pyrodgm.posteriors import GaussianPosterior, ImplicitPosterior
from pyrodgm.priors import MixtureOfGaussians, StandardNormal


@pytest.mark.slow
def test_a_linear_generator_with_noise_has_a_known_likelihood():
    """x = Az + b + noise is Gaussian; the guide is the prior, far from the posterior."""
    net = nn.Linear(3, 6)
    pair = GAN(StandardNormal(3), ImplicitLikelihood(net), Discriminator.dense(6, [4])).with_density(0.1)
    x = torch.randn(5, 3) @ net.weight.detach().T + net.bias.detach() + 0.1 * torch.randn(5, 6)
    covariance = net.weight @ net.weight.T + 0.01 * torch.eye(6)
    exact = torch.distributions.MultivariateNormal(net.bias, covariance).log_prob(x).detach()
    found = annealed_log_likelihood(pair, x, chains=1024, temperatures=8, seed=0)
    assert torch.allclose(found.values, exact, atol=0.02)
    assert found.num_samples == 1024


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", [BernoulliLikelihood, GaussianLikelihood])
def test_quadrature_of_two_latents(likelihood):
    """Mixture prior and curved decoder, and a deterministic encoder as the guide."""
    net = mlp(2, [8], 6, layer=lambda a, b: Dense(a, b, nn.Tanh))
    guide = ImplicitPosterior(nn.Linear(6, 2), 2)
    pair = VAE(MixtureOfGaussians(2, 3), likelihood(net), guide)
    x = torch.rand(4, 6).round()
    axis = torch.linspace(-9.0, 9.0, 361)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        joint = pair.prior().log_prob(grid).unsqueeze(1) + pair.likelihood(grid.unsqueeze(1)).log_prob(x)
    exact = joint.logsumexp(0) + 2 * (axis[1] - axis[0]).log()
    found = annealed_log_likelihood(pair, x, chains=4000, temperatures=12, seed=0)
    assert torch.allclose(found.values, exact, atol=0.05)


def test_refusals():
    for build in (gan, lambda: DensityNetwork(StandardNormal(3), ImplicitLikelihood(nn.Linear(3, 12)))):
        with pytest.raises(NotImplementedError, match="site 'x' has draws alone"):
            annealed_log_likelihood(build(), data())
    noisy = gan().with_density(0.3)
    for name in ("chains", "temperatures", "block"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            annealed_log_likelihood(noisy, data(), **{name: 0})
    with pytest.raises(ValueError, match="scale must be finite and greater than 0"):
        gan().with_density(0.0)
    dense = GAN(StandardNormal(3), BernoulliLikelihood(nn.Linear(3, 4)), Discriminator.dense(4, [4]))
    with pytest.raises(TypeError, match="likelihood must be an ImplicitLikelihood"):
        dense.with_density(0.1)


@pytest.mark.parametrize("evaluate", [annealed_log_likelihood, refine])
def test_data_outside_the_support_are_refused(evaluate):
    """Bernoulli's formula gives numbers for them, which are no densities."""
    vae = VAE(StandardNormal(2), BernoulliLikelihood(nn.Linear(2, 4)), GaussianPosterior(nn.Linear(4, 4)))
    x = torch.tensor([[0.0, 1.0, 1.0, 0.0], [0.0, -1.0, 1.0, 0.0]])
    with pytest.raises(ValueError, match=r"x must lie in the support of site 'x', .*Boolean.* in row 1"):
        evaluate(vae, x)
