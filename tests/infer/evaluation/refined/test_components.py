"""Mixtures as priors: their curvature, and proposals where many narrow components overlap."""

import math

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrodgm.distributions import DiagNormalMixture, IsotropicNormalMixture
from pyrodgm.infer import log_likelihood
from pyrodgm.infer.evaluation.refined import components
from pyrodgm.infer.evaluation.refined.components import between_components
from pyrodgm.infer.evaluation.refined.curvature import KEPT, prior_features, without
from pyrodgm.likelihoods import GaussianLikelihood
from pyrodgm.models import VAE
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import ExemplarPrior


def mixture(kind, batch=(), count=6, size=3):
    torch.manual_seed(0)
    logits, loc = torch.randn(*batch, count).double(), torch.randn(*batch, count, size).double()
    if kind == "diagonal":
        return DiagNormalMixture(logits, loc, torch.rand(*batch, count, size).double() + 0.3)
    return IsotropicNormalMixture(logits, loc, torch.rand(batch).double() + 0.3)


@pytest.mark.parametrize(
    ("kind", "batch"), [("diagonal", ()), ("diagonal", (2,)), ("isotropic", ()), ("isotropic", (2,))]
)
def test_components_and_what_is_between_them_make_the_hessian(kind, batch):
    fn = mixture(kind, batch)
    z = torch.randn(4, 2, 3, dtype=torch.float64)
    between = between_components(fn, z)
    jacobian = torch.autograd.functional.jacobian(lambda v: prior_features(fn, v)[0].reshape(4, 2, 3), z)
    jacobian = torch.einsum("abcabd->abcd", jacobian)
    hessian = torch.autograd.functional.hessian(lambda v: fn.log_prob(v).sum(), z)
    torch.testing.assert_close(jacobian.mT @ jacobian - between, -torch.einsum("abcabd->abcd", hessian))


def test_of_many_components_the_most_responsible_count(monkeypatch):
    fn, far = mixture("diagonal", count=40), torch.full((30,), -40.0).double()
    z = torch.randn(5, 3, dtype=torch.float64)
    few = DiagNormalMixture(torch.cat([fn.logits[:10], far]), fn.loc, fn.scale)
    expected = between_components(DiagNormalMixture(fn.logits[:10], fn.loc[:10], fn.scale[:10]), z)
    monkeypatch.setattr(components, "MOST", 12)
    torch.testing.assert_close(between_components(few, z), expected)


def test_of_a_matrix_a_share_is_left_in_each_direction():
    a = torch.tensor([[4.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    part = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(without(a, part), torch.tensor([[3.0, 0.0], [0.0, KEPT]]).double())
    torch.testing.assert_close(without(a, 0.0 * a), a)
    overflown = torch.stack([part, part.clone().fill_(math.inf), part * math.nan])
    found = without(a, overflown)
    torch.testing.assert_close(found[1:], a.expand(2, 2, 2))
    torch.testing.assert_close(found[0], without(a, part))


def test_overlapping_exemplars_are_one_wide_mode():
    """Components of scale 0.3 whose means fill a cube of side 4: a flat prior there, not one of precision 11."""
    torch.manual_seed(0)
    encoder = nn.Linear(4, 8)
    with torch.no_grad():
        encoder.weight.copy_(torch.cat([4.0 * torch.eye(4), torch.zeros(4, 4)]))
        encoder.bias.copy_(torch.tensor([-2.0] * 4 + [0.0] * 4))
    posterior = GaussianPosterior(encoder)
    prior = ExemplarPrior(posterior, torch.rand(2000, 4))
    with torch.no_grad():
        prior.log_variance.fill_(-2.4)
    decoder, x = nn.Linear(4, 4), torch.rand(12, 4)
    pair = VAE(prior, GaussianLikelihood(decoder, scale=1.0), posterior)
    result = log_likelihood(pair, x, proposal="refined", seed=0, progress=False)
    with torch.no_grad():
        loc, noise = decoder(prior._all_means()), math.exp(-2.4) * decoder.weight @ decoder.weight.T + torch.eye(4)
        exact = dist.MultivariateNormal(loc, noise).log_prob(x.unsqueeze(1)).double().logsumexp(1) - math.log(2000)
    assert result.ess.median() > 350  # 275 by the curvature of the components alone
    assert (result.values - exact).abs().max() < 0.25
    assert result.mean == pytest.approx(exact.mean().item(), abs=0.05)
