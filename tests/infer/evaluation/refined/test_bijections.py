"""Coordinates of sticks: bijections with their Jacobians, and evidence of models over sticks."""

import math

import mpmath
import pytest
import torch
from pyro.infer.importance import vectorized_importance_weights
from torch import nn
from torch.func import jvp

from pyrodgm.distributions import BetaLogit, KumaraswamyLogit
from pyrodgm.infer import log_likelihood, refine
from pyrodgm.infer.evaluation.diagnostics import summarise
from pyrodgm.infer.evaluation.refined.bijections import Identity, bijection
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import HVAE, VAE
from pyrodgm.nn import Concatenate, Joint, StickWeights, mlp
from pyrodgm.posteriors import StickBreakingPosterior
from pyrodgm.priors import GEMPrior, SymmetricDirichletPrior

CONCENTRATIONS = [(1.0, 5.0), (1.0, 0.1), (1.0, 1000.0), (0.3, 2.0), (5.0, 3.0), (0.05, 0.05), (30.0, 1.0)]


@pytest.mark.parametrize("family", [BetaLogit, KumaraswamyLogit])
@pytest.mark.parametrize(("a", "b"), CONCENTRATIONS)
def test_density_in_coordinates_is_that_of_the_logit_times_the_jacobian(family, a, b):
    u = torch.linspace(-35, 35, 71)
    fn = family(torch.full_like(u, a), torch.full_like(u, b))
    coordinates = bijection(fn)
    y, slope = jvp(coordinates.place, (u,), (torch.ones_like(u),))
    assert torch.isfinite(y).all()
    assert (y.diff() > 0).all()
    assert torch.allclose(coordinates.standardise(y), u, rtol=1e-13, atol=1e-13)
    found = coordinates.log_density(u, y)
    assert torch.allclose(found, fn.log_prob(y) + slope.log(), rtol=1e-12, atol=1e-12)
    if family is KumaraswamyLogit or a == 1.0:
        assert torch.allclose(found, torch.distributions.Normal(0.0, 1.0).log_prob(u), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("u", [-30.0, -8.0, -0.5, 0.0, 3.0, 12.0, 33.0])
def test_fractions_of_a_dirichlet_process_by_many_digits(u):
    alpha = 5.0
    with mpmath.workdps(400):
        rest = mpmath.ncdf(-mpmath.mpf(u)) ** (1 / mpmath.mpf(alpha))
        exact = float(mpmath.log(1 - rest) - mpmath.log(rest))
    fn = BetaLogit(torch.tensor(1.0), torch.tensor(alpha))
    assert bijection(fn).place(torch.tensor(u)).item() == pytest.approx(exact, rel=1e-13)
    single = BetaLogit(torch.tensor(1.0, dtype=torch.float32), torch.tensor(alpha, dtype=torch.float32))
    assert bijection(single).place(torch.tensor(u, dtype=torch.float32)).item() == pytest.approx(exact, rel=2e-7)


def test_real_sites_are_their_coordinates():
    assert isinstance(bijection(torch.distributions.Normal(torch.zeros(2), 1.0)), Identity)


def stick_vae(prior, fractions="kumaraswamy"):
    torch.manual_seed(2)
    decoder = nn.Sequential(StickWeights(), *mlp(3, [8], 12))
    pair = VAE(prior, BernoulliLikelihood(decoder), StickBreakingPosterior(mlp(12, [8], 4), fractions, 1.0))
    for parameter in pair.likelihood.parameters():
        parameter.data.mul_(3.0)
    return pair.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    "prior",
    [lambda: GEMPrior(3, 0.3), lambda: GEMPrior(3, 4.0, learn=True), lambda: SymmetricDirichletPrior(3, 0.4)],
    ids=["fixed", "learned", "dirichlet"],
)
def test_evidence_of_two_sticks_by_quadrature(prior):
    pair = stick_vae(prior())
    x = torch.rand(4, 12).round()
    exact = by_quadrature(pair, x)
    found = log_likelihood(pair, x, 3000, proposal="refined", seed=0)
    assert ((found.values - exact).abs() < 4.5 * (1 / found.ess).sqrt()).all()
    assert found.untrusted_share == 0.0


def by_quadrature(pair, x):
    axis = torch.linspace(-45, 75, 401)
    y = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        joint = pair.prior().log_prob(y).unsqueeze(-1) + pair.likelihood(y.unsqueeze(1)).log_prob(x)
    return joint.logsumexp(0) + 2 * math.log(axis[1] - axis[0])


@pytest.mark.slow
def test_sticks_under_sticks_agree_with_many_draws_of_the_prior():
    torch.manual_seed(0)
    upper = StickBreakingPosterior(nn.Sequential(StickWeights(), *mlp(3, [6], 4)), "kumaraswamy", 1.0)
    lower = StickBreakingPosterior(Joint([mlp(12, [6], 6), StickWeights()], Concatenate(), mlp(9, [6], 4)), "beta", 1.0)
    decoder = Joint([StickWeights(), StickWeights()], Concatenate(), mlp(6, [8], 12))
    first = StickBreakingPosterior(mlp(12, [6], 4), "kumaraswamy", 1.0)
    pair = HVAE(GEMPrior(3, 2.0), upper, BernoulliLikelihood(decoder), first, lower).eval()
    x = torch.rand(3, 12).round()
    refined = log_likelihood(pair, x, 3000, proposal="refined", seed=0)
    with torch.no_grad():
        z2 = pair.prior().sample((100_000,))
        exact = summarise(pair.likelihood(pair.conditional_prior(z2).sample(), z2).log_prob(x.unsqueeze(1)).T)
    assert (refined.stage > 0).all()
    assert ((refined.values - exact["values"]).abs() < 4.5 * (1 / refined.ess + 1 / exact["ess"]).sqrt()).all()


def test_the_refined_guide_of_sticks_has_the_density_of_its_logits():
    pair = stick_vae(GEMPrior(3, 2.0))
    x = torch.rand(1, 12).round()
    guide = refine(pair, x, seed=0)
    assert guide.proposal.gaussians[0].skew.epsilon.abs().max() > 0.02
    with torch.no_grad():
        weights, _, _ = vectorized_importance_weights(pair.model, guide, x, num_samples=4000, max_plate_nesting=1)
    found = summarise(weights.unsqueeze(-1))
    assert abs(found["values"] - by_quadrature(pair, x)) < 4.5 / found["ess"].sqrt()
    assert guide.mean["z"].shape == (1, 2)
