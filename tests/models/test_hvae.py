"""The two-level VAE against quadrature over both latents."""

import pyro
import pytest
import torch

from pyrodgm.infer import ELBO, log_likelihood
from pyrodgm.priors import MixtureOfGaussians, StandardNormal, VampPrior
from pyrodgm.zoo.pairs import dense_hvae

X = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)


@pytest.fixture(params=["standard", "mixture", "vamp"])
def hvae(request):
    priors = {
        "standard": lambda q: StandardNormal(1),
        "mixture": lambda q: MixtureOfGaussians(1, 3, spread=0.7),
        "vamp": lambda q: VampPrior(q, X),
    }
    pyro.set_rng_seed(3)
    pair = dense_hvae(priors[request.param], pixels=2, latents=(1, 1), hidden=5)
    for q in (pair.posterior, pair.conditional_posterior):
        q.log_variance_range = (0.5, 2.0)  # wide enough for importance sampling before any training
    return pair


def joint_and_guide(hvae):
    """log p(x, z1, z2) and log q(z1, z2 | x) of all four x on a grid, ``[4, grid]``, and the volume of a cell."""
    side = torch.linspace(-12, 12, 401)
    z2, z1 = (side[:, None, None, None].expand(-1, len(side), 4, 1), side[None, :, None, None])
    with torch.no_grad():
        q2 = hvae.posterior(X)
        log_q = q2.log_prob(z2) + hvae.conditional_posterior(X, z2).log_prob(z1)
        log_p = hvae.prior().log_prob(z2) + hvae.conditional_prior(z2).log_prob(z1)
        log_p = log_p + hvae.likelihood(z1, z2).log_prob(X)
    return log_p.flatten(0, 1).T, log_q.flatten(0, 1).T, (side[1] - side[0]).item() ** 2


@pytest.mark.slow
def test_bounds_and_log_likelihood_are_the_integrals(hvae):
    log_p, log_q, volume = joint_and_guide(hvae)
    evidence = log_p.logsumexp(1) + torch.tensor(volume).log()
    assert evidence.exp().sum().item() == pytest.approx(1.0, abs=1e-6)  # the four images are all there are
    assert torch.allclose(log_q.exp().sum(1) * volume, torch.ones(4), atol=1e-6)
    estimate = log_likelihood(hvae, X, 20_000, seed=0)
    error = (1 / estimate.ess - 1 / 20_000).sqrt()
    assert ((estimate.values - evidence).abs() < 5 * error + 1e-4).all()
    bound = (log_q.exp() * (log_p - log_q)).sum(1).sum() * volume
    objective = ELBO(num_particles=2000, vectorize_particles=True)
    with torch.no_grad():
        draws = torch.stack([-objective.differentiable_loss(hvae.model, hvae.guide, X) for _ in range(30)])
    assert draws.mean().item() == pytest.approx(bound.item(), abs=5 * draws.std().item() / 30**0.5)


def test_divergence_of_the_lower_level_is_exact_and_of_the_upper_where_it_can_be(hvae):
    upper = "exact" if isinstance(hvae.prior, StandardNormal) else "sampled"
    assert ELBO().describe(hvae.model, hvae.guide, X) == {"z2": upper, "z1": "exact"}


@pytest.mark.slow
def test_encoder_runs_once_a_datum_for_all_importance_samples(hvae):
    """The parts that see x alone never meet the samples."""
    sizes = []
    encoders = (hvae.posterior.net, hvae.conditional_posterior.net.branches[0])
    handles = [f.register_forward_hook(lambda m, i, o: sizes.append(o.numel() // o.shape[-1])) for f in encoders]
    log_likelihood(hvae, X, 500)
    for handle in handles:
        handle.remove()
    assert max(sizes) <= len(X)


def test_a_vamp_prior_shares_the_posterior_of_the_upper_level():
    hvae = dense_hvae(lambda q: VampPrior(q, X), pixels=2, latents=(3, 2), hidden=5)
    assert hvae.prior.posterior is hvae.posterior
    assert hvae.prior().event_shape == (2,)
    assert hvae.conditional_prior(torch.zeros(4, 2)).event_shape == (3,)
