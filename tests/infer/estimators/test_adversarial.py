"""Objectives of two players against closed forms, enumerated gradients and other estimators."""

import copy
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
import torch.nn.functional as F
from adversarial_pairs import LATENT, D, autoencoder, data, gan, gaussian
from pyro.infer import Trace_ELBO
from torch import nn

from pyrodgm.infer import (
    ELBO,
    AdversarialAutoencoderLoss,
    AdversarialELBO,
    GANLoss,
    Hinge,
    NonSaturating,
    ProgramError,
    VAEGANLoss,
    Wasserstein,
)
from pyrodgm.likelihoods import GaussianLikelihood
from pyrodgm.models import AdversarialVAE
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import MixtureOfGaussians, StandardNormal


class BestRatio(nn.Module):
    """The optimal discriminator of adversarial variational Bayes, log q(z | x) - log p(z)."""

    def __init__(self, posterior, prior):
        super().__init__()
        self.parts = (posterior, prior)  # not registered
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, x, z):
        posterior, prior = (copy.deepcopy(part).requires_grad_(False) for part in self.parts)
        return posterior(x).log_prob(z) - prior().log_prob(z)


def linear_gaussian(prior):
    """z ~ prior, x | z ~ N(Az + b, 0.5^2), q(z | x) = N(Cx + d, ...)."""
    posterior = GaussianPosterior(nn.Linear(4, 2 * 2))
    likelihood = GaussianLikelihood(nn.Linear(2, 4), 0.5)
    return AdversarialVAE(prior, likelihood, posterior, BestRatio(posterior, prior))


def loss_and_gradients(objective, pair, x):
    pair.zero_grad()
    pyro.set_rng_seed(3)
    loss = objective.differentiable_loss(pair.model, pair.guide, x)
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in pair.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("prior", [lambda: StandardNormal(2), lambda: MixtureOfGaussians(2, 3)])
def test_avb_with_the_best_discriminator_is_the_elbo(prior):
    """Value of the sampled bound, and its path gradients, draw by draw; prior and decoder get those of log p."""
    pair, x = linear_gaussian(prior()), torch.randn(6, 4)
    found, gradients = loss_and_gradients(AdversarialELBO().of(pair), pair, x)
    pyro.set_rng_seed(3)
    assert torch.allclose(found, Trace_ELBO().differentiable_loss(pair.model, pair.guide, x).detach())
    pair.zero_grad()
    pyro.set_rng_seed(3)
    z, fixed = pair.posterior(x).rsample(), copy.deepcopy(pair.posterior).requires_grad_(False)
    (fixed(x).log_prob(z) - pair.prior().log_prob(z) - pair.likelihood(z).log_prob(x)).sum().backward()
    expected = {n: p.grad for n, p in pair.named_parameters() if p.grad is not None}
    assert gradients.keys() == expected.keys()
    assert all(torch.allclose(gradients[n], expected[n]) for n in expected)


def test_avb_is_exact_in_expectation():
    """Against the closed form of the bound of a linear-Gaussian pair."""
    pair, x = linear_gaussian(StandardNormal(2)), torch.randn(3, 4)
    a, b = pair.likelihood.net.weight, pair.likelihood.net.bias
    q = pair.posterior(x).base_dist
    residual = x - q.loc @ a.T - b
    errors = residual.square().sum(-1) + (a.square() @ q.scale.square().T).sum(0)
    given = -errors / (2 * 0.25) - 4 * math.log(0.5 * math.sqrt(2 * math.pi))
    kl = 0.5 * (q.scale.square() + q.loc.square() - 1).sum(-1) - q.scale.log().sum(-1)
    exact = (given - kl).sum().item()
    many = x.repeat(20_000, 1)
    with torch.no_grad():
        found = -AdversarialELBO().of(pair).differentiable_loss(pair.model, pair.guide, many) / 20_000
        weighted = -AdversarialELBO(0.5).of(pair).differentiable_loss(pair.model, pair.guide, many) / 20_000
    assert float(found) == pytest.approx(exact, abs=0.15)
    assert float(weighted) == pytest.approx((given - 0.5 * kl).sum().item(), abs=0.15)


def test_the_discriminator_of_avb_is_best_where_it_is_the_ratio():
    pair, x = linear_gaussian(StandardNormal(2)), torch.randn(4, 4).repeat(2000, 1)
    critic = AdversarialELBO().of(pair).critic()
    losses = []
    for shift in (-0.3, 0.0, 0.3):
        moved = copy.copy(critic)
        moved.objective = copy.copy(critic.objective)
        moved.objective.discriminator = lambda x, z, shift=shift: pair.discriminator(x, z) + shift
        pyro.set_rng_seed(0)
        losses.append(float(moved.differentiable_loss(pair.model, pair.guide, x)))
    assert losses[1] < min(losses[0], losses[2])


def test_adaptive_contrast_of_a_gaussian_needs_no_discriminator():
    """r is q but for the error of its moments, so the ratio is 0 and the bound that of the ELBO."""
    pair, x = linear_gaussian(MixtureOfGaussians(2, 3)), torch.randn(3, 4)
    objective = AdversarialELBO(contrast=5000).of(pair)
    objective.discriminator = lambda x, z: z.sum(-1) * 0.0
    pyro.set_rng_seed(1)
    ours = objective.differentiable_loss(pair.model, pair.guide, x)
    pyro.set_rng_seed(1)
    theirs = Trace_ELBO().differentiable_loss(pair.model, pair.guide, x)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-2)


LOGITS = torch.tensor([-2.0, 0.0, 0.5, 3.0])


def test_games_are_their_formulae():
    real, fake = LOGITS, LOGITS.flip(0) + 0.25
    score = lambda x: x  # noqa: E731
    d, g = torch.sigmoid(real), torch.sigmoid(fake)
    assert torch.allclose(NonSaturating().critic(score, real, fake), -d.log() - (1 - g).log())
    assert torch.allclose(NonSaturating().generator(score, fake), -g.log())
    assert torch.allclose(Hinge().critic(score, real, fake), (1 - real).clamp(min=0) + (1 + fake).clamp(min=0))
    for game in (Hinge(), Wasserstein()):
        assert torch.equal(game.generator(score, fake), -fake)


def test_the_penalty_of_a_linear_critic_is_known_and_so_is_its_gradient():
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    real, fake = torch.randn(6, 2), torch.randn(6, 2)
    loss = Wasserstein(2.0).critic(lambda x: x @ w, real, fake)
    assert torch.allclose(loss, (fake - real) @ w + 2.0 * (5.0 - 1.0) ** 2)
    loss.sum().backward()
    # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|
    assert torch.allclose(w.grad, (fake - real).sum(0) + 6 * 2.0 * 2 * 4.0 * torch.tensor([0.6, 0.8]))
    flat = torch.zeros(2, requires_grad=True)
    Wasserstein().critic(lambda x: x @ flat, real, fake).sum().backward()
    assert torch.isfinite(flat.grad).all()
    with pytest.raises(ValueError, match="penalty"):
        Wasserstein(-1.0)


def test_adversarial_autoencoder_is_the_sum_of_its_parts():
    pair, x = autoencoder("mixture", gaussian), data()
    found, gradients = loss_and_gradients(AdversarialAutoencoderLoss(0.7).of(pair), pair, x)
    pyro.set_rng_seed(3)
    z = pair.posterior(x).rsample()
    loss = -pair.likelihood(z).log_prob(x).sum() + 0.7 * F.softplus(-pair.discriminator(z)).sum()
    assert torch.allclose(found, loss.detach())
    pair.zero_grad()
    (loss - pair.prior().log_prob(z.detach()).sum()).backward()
    for name, parameter in pair.named_parameters():
        if not name.startswith("discriminator"):
            assert torch.allclose(gradients[name], parameter.grad), name


def test_each_part_of_a_vae_gan_gets_the_gradient_of_its_own_loss():
    weight, pair, x = 0.3, autoencoder("standard", gaussian, D), data()
    _, gradients = loss_and_gradients(VAEGANLoss(feature_weight=weight).of(pair), pair, x)
    pyro.set_rng_seed(3)
    q = pair.posterior(x)
    z = q.rsample()
    drawn = torch.randn(len(x), LATENT)
    f, d = pair.discriminator.features, pair.discriminator
    errors = 0.5 * (f(x) - f(pair.likelihood(z).mean)).square().sum()
    game = sum(F.softplus(-d(pair.likelihood(v).mean)).sum() for v in (z.detach(), drawn))
    kl = torch.distributions.kl_divergence(q.base_dist, dist.Normal(0.0, 1.0)).sum()
    of_guide = torch.autograd.grad(kl + errors, list(pair.posterior.parameters()), retain_graph=True)
    of_decoder = torch.autograd.grad(weight * errors + 0.5 * game, list(pair.likelihood.parameters()))
    expected = dict(zip([n for n, _ in pair.posterior.named_parameters(prefix="posterior")], of_guide, strict=True))
    expected |= dict(
        zip([n for n, _ in pair.likelihood.named_parameters(prefix="likelihood")], of_decoder, strict=True)
    )
    assert all(torch.allclose(gradients[n], g) for n, g in expected.items())


def test_critics_see_no_gradient_of_the_rest():
    x = data()
    for pair, objective in ((gan(), GANLoss(Wasserstein())), (autoencoder("standard", gaussian, D), VAEGANLoss())):
        objective.of(pair).critic().differentiable_loss(pair.model, pair.guide, x).backward()
        assert all(
            (p.grad is not None) == n.startswith("discriminator") for n, p in pair.named_parameters() if "bias" not in n
        )


def test_programs_that_do_not_fit_are_refused_by_name():
    pair = gan()

    def two(x):
        with pyro.plate("data", len(x), dim=-1):
            for name in "ab":
                pyro.sample(name, dist.Normal(0.0, 1.0).expand([D]).to_event(1), obs=x)

    def scaled(x):
        with pyro.plate("data", 2 * len(x), subsample_size=len(x), dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0).expand([D]).to_event(1), obs=x)

    objective = GANLoss().of(pair)
    with pytest.raises(ProgramError, match="site 'a, b' must be the one observed site"):
        objective.differentiable_loss(two, pair.guide, data())
    with pytest.raises(ProgramError, match="site 'x' must be neither masked nor scaled"):
        objective.differentiable_loss(scaled, pair.guide, data())
    plain = autoencoder("standard", gaussian, D)
    plain.discriminator = nn.Linear(D, 1)
    with pytest.raises(TypeError, match="module features for VAEGANLoss"):
        VAEGANLoss().of(plain).differentiable_loss(plain.model, plain.guide, data())
    assert ELBO().differentiable_loss(plain.model, plain.guide, data()) > 0
