"""Shu's bound of the divergence from a mixture, against quadrature."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from pyrodgm.distributions import DiagNormalMixture, kl_mixture_bound
from pyrodgm.infer import ELBO
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianMixturePosterior, GaussianPosterior
from pyrodgm.priors import MixtureOfGaussians

NODES, WEIGHTS = (torch.as_tensor(a) for a in np.polynomial.hermite_e.hermegauss(80))
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def by_quadrature(p, q):
    """KL(p || q) in one or two dimensions, on a grid in units of p's scale."""
    d = p.event_shape[0]
    grid = torch.cartesian_prod(*[NODES] * d).reshape(-1, d)
    weights = torch.cartesian_prod(*[WEIGHTS] * d).reshape(-1, d).prod(-1)
    z = p.base_dist.loc + p.base_dist.scale * grid.unsqueeze(-2)
    return (weights.unsqueeze(-1) * (p.log_prob(z) - q.log_prob(z))).sum(0)


def normals(*shape):
    return Independent(Normal(torch.randn(*shape), torch.rand(*shape) + 0.3), 1)


def mixture(k, d, batch=()):
    return DiagNormalMixture(torch.randn(*batch, k), 2 * torch.randn(*batch, k, d), torch.rand(*batch, k, d) + 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2])
def test_it_is_an_upper_bound_and_at_most_that_of_each_component(d):
    p, q = normals(200, d), mixture(6, d)
    bound, exact = kl_mixture_bound(p, q), by_quadrature(p, q)
    assert (bound >= exact - 1e-9).all()
    assert ((bound - exact) > 1e-3).float().mean() > 0.5  # and not the divergence itself
    each = kl_divergence(
        Independent(Normal(p.base_dist.loc.unsqueeze(1), p.base_dist.scale.unsqueeze(1)), 1), q.component_distribution
    )
    torch.testing.assert_close(bound, -(q.logits.log_softmax(-1) - each).logsumexp(-1))
    assert (bound <= (each - q.logits.log_softmax(-1)).amin(-1) + 1e-12).all()


def test_it_is_exact_for_equal_components():
    p, one = normals(7, 3), normals(1, 3)
    q = DiagNormalMixture(torch.randn(4), one.base_dist.loc.expand(4, 3), one.base_dist.scale.expand(4, 3))
    torch.testing.assert_close(kl_mixture_bound(p, q), kl_divergence(p, one.expand((7,))))


def test_shapes_broadcast_and_float32_is_accurate():
    for p, q in (
        (normals(5, 1, 2), mixture(3, 2, (4,))),
        (normals(2), mixture(3, 2, (4,))),
        (normals(4, 2), mixture(3, 2)),
    ):
        shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
        got = kl_mixture_bound(p, q.expand(q.batch_shape))
        assert got.shape == shape
        narrow = Independent(Normal(p.base_dist.loc.float(), p.base_dist.scale.float()), 1)
        other = DiagNormalMixture(q.logits.float(), q.loc.float(), q.scale.float())
        torch.testing.assert_close(kl_mixture_bound(narrow, other).double(), got, rtol=1e-5, atol=1e-5)


def test_gradients():
    params = [torch.randn(2, 3), torch.rand(2, 3) + 0.3, torch.randn(4), torch.randn(4, 3), torch.rand(4, 3) + 0.3]

    def bound(loc, scale, *of_mixture):
        return kl_mixture_bound(Independent(Normal(loc, scale), 1), DiagNormalMixture(*of_mixture))

    assert torch.autograd.gradcheck(bound, [p.requires_grad_() for p in params])


def test_other_distributions_are_refused():
    with pytest.raises(TypeError, match="expected p to be a Normal made by"):
        kl_mixture_bound(mixture(2, 2), mixture(2, 2))
    with pytest.raises(TypeError, match="expected q to be a DiagNormalMixture"):
        kl_mixture_bound(normals(2), normals(2))


def test_elbo_uses_it_on_demand_and_says_so():
    x = torch.rand(6, 5).round()
    vae = VAE(
        MixtureOfGaussians(2, 5, spread=2.0), BernoulliLikelihood(mlp(2, [4], 5)), GaussianPosterior(mlp(5, [4], 4))
    )
    sampled, bounded = ELBO(), ELBO(kl_fallback="bound")
    assert sampled.describe(vae.model, vae.guide, x) == {"z": "sampled"}
    assert bounded.describe(vae.model, vae.guide, x) == {"z": "bound"}
    with torch.no_grad():
        losses = []
        for objective in (sampled, bounded):
            torch.manual_seed(0)
            many = type(objective)(kl_fallback=objective.kl_fallback, num_particles=4000, vectorize_particles=True)
            losses.append(many.loss(vae.model, vae.guide, x))
        q, p = vae.posterior(x), vae.prior()
        difference = (kl_mixture_bound(q, p) - by_quadrature(q, p)).sum().item()
    assert losses[1] - losses[0] == pytest.approx(difference, abs=0.1)
    assert difference > 0.3
    mixed = VAE(vae.prior, vae.likelihood, GaussianMixturePosterior(mlp(5, [4], 10), 2))
    assert bounded.describe(mixed.model, mixed.guide, x) == {"z": "sampled"}
    with pytest.raises(ValueError, match="kl_fallback must be one of sample, bound, got 'none'"):
        ELBO(kl_fallback="none")
