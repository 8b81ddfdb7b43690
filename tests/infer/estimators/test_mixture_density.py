"""The mixture objective against quadrature over weights and latents, and what the published pairing changes."""

import numpy as np
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from scipy import special
from torch import nn
from torch.distributions import kl_divergence

from pyrodgm.infer import ELBO, MixtureDensityELBO, StratifiedELBO, log_likelihood, posterior_means
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import DLGMM, VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianMixturePosterior, StickBreakingPosterior, WeightedGaussians
from pyrodgm.priors import GaussianComponents, GEMPrior, StandardNormal, SymmetricDirichletPrior
from pyrodgm.zoo.pairs import dense_two_layer_dlgmm

X = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def gauss(points, rule):
    nodes, weights = rule(points)
    return torch.as_tensor(nodes), torch.as_tensor(weights / weights.sum())


Z, Z_WEIGHTS = gauss(40, np.polynomial.hermite_e.hermegauss)
U, U_WEIGHTS = gauss(40, np.polynomial.legendre.leggauss)
U = (U + 1) / 2


def small(components="standard", prior=None):
    """Two components in one dimension, far enough apart for their pairing to matter."""
    torch.manual_seed(3)
    weights, gaussians = mlp(4, [], 2), mlp(4, [], 4)
    with torch.no_grad():
        gaussians[-1].bias.copy_(torch.tensor([-0.9, 0.8, -1.0, -0.7]))
        gaussians[-1].weight.mul_(0.2)
    return DLGMM(
        prior or SymmetricDirichletPrior(2, 1.5),
        GaussianComponents(1, 2, components, spread=0.6),
        BernoulliLikelihood(mlp(1, [], 3)),
        mlp(3, [], 4),
        StickBreakingPosterior(weights, "kumaraswamy", output_scale=1.0),
        WeightedGaussians(gaussians, 2),
    )


def exact(pair, x, pairing="full"):
    """The bound by quadrature over the fraction and each component's draw; ``index`` takes the index as a latent."""
    h = pair.encoder(x)
    q_pi = pair.weights_posterior(h)
    v = q_pi.base_dist.icdf(U.unsqueeze(-1).unsqueeze(-1)).sigmoid()  # [nodes, B, 1]
    pi = torch.cat([v, 1 - v], -1)
    q = pair.component_posterior(h, pi)
    z = (q.loc.squeeze(-1) + q.scale.squeeze(-1) * Z[:, None, None, None]).unsqueeze(-1)  # [nodes z, nodes v, B, 2, 1]
    total = pair.likelihood(z).log_prob(x.unsqueeze(-2))
    p = pair.component_prior(pi)
    own_q = dist.Normal(q.loc, q.scale).log_prob(z).squeeze(-1)
    own_p = (dist.Normal(p.loc, p.scale) if hasattr(p, "loc") else p.base_dist).log_prob(z).squeeze(-1)
    if pairing == "full":
        total = total + torch.stack([p.log_prob(z[..., k, :]) - q.log_prob(z[..., k, :]) for k in range(2)], -1)
    elif pairing == "index":
        total = total + own_p - own_q
    else:
        total = total + own_p
    bound = (pi * total * Z_WEIGHTS[:, None, None, None]).sum((0, -1))
    if pairing == "own":
        first, second = (pi.log() + own_q).unbind(-1)
        both = torch.logaddexp(first.unsqueeze(0), second.unsqueeze(1))
        bound = bound - (both * Z_WEIGHTS[:, None, None, None] * Z_WEIGHTS[:, None, None]).sum((0, 1))
    return (bound * U_WEIGHTS.unsqueeze(-1)).sum() - kl_divergence(q_pi, pair.prior()).sum()


def estimate(objective, pair, groups=30):
    rows = []
    for _ in range(groups):
        loss = objective.differentiable_loss(pair.model, pair.guide, X)
        gradients = torch.autograd.grad(-loss, list(pair.parameters()))
        rows.append(torch.cat([-loss.detach().reshape(1), *(g.reshape(-1) for g in gradients)]))
    return torch.stack(rows).mean(0), torch.stack(rows).std(0) / groups**0.5


@pytest.mark.slow
@pytest.mark.parametrize("pairing", ["full", "own"])
@pytest.mark.parametrize("components", ["standard", "spread", "learned"])
def test_value_and_gradients_are_those_of_quadrature(components, pairing):
    pair = small(components)
    bound = exact(pair, X, pairing)
    gradients = torch.autograd.grad(bound, list(pair.parameters()))
    expected = torch.cat([bound.detach().reshape(1), *(g.reshape(-1) for g in gradients)])
    mean, error = estimate(MixtureDensityELBO(num_particles=300, pairing=pairing), pair)
    assert ((mean - expected).abs() < 5 * error + 1e-6).all()
    assert (error < 0.05 * expected.abs().max()).all()


@pytest.mark.slow
@pytest.mark.parametrize("prior", [SymmetricDirichletPrior(2, 1.5), GEMPrior(2, 3.0)], ids=["dirichlet", "gem"])
def test_full_pairing_is_the_evidence_bound_that_elbo_estimates(prior):
    pair = small("spread", prior)
    expected = exact(pair, X).item()
    for objective in (
        ELBO(num_particles=2000, vectorize_particles=True),
        StratifiedELBO(num_particles=1000),
        MixtureDensityELBO(num_particles=1000),
    ):
        mean, error = estimate(objective, pair, groups=10)
        assert mean[0].item() == pytest.approx(expected, abs=5 * error[0].item())


@pytest.mark.slow
@pytest.mark.parametrize("components", ["standard", "spread"])
def test_published_pairing_is_a_looser_bound(components):
    pair = small(components)
    own, index, full = (exact(pair, X, pairing).item() for pairing in ("own", "index", "full"))
    evidence = log_likelihood(pair, X, 20_000, seed=0).values.sum().item()
    assert own < index - 0.05
    assert index < full - 0.05
    assert full < evidence


def test_expected_weights_are_exact():
    pair = small()
    with torch.no_grad():
        fractions = pair.weights_posterior(pair.encoder(X)).base_dist
    a, b = fractions.concentration1, fractions.concentration0
    mean = b * torch.as_tensor(special.beta(1 + 1 / a.numpy(), b.numpy()))
    torch.testing.assert_close(posterior_means(pair, X)["pi"], torch.cat([mean, 1 - mean], -1), rtol=1e-9, atol=1e-9)


def test_kl_weight_multiplies_all_but_the_likelihood():
    pair, losses = small("learned"), []
    for weight in (0.0, 1.0, 0.25):
        torch.manual_seed(1)
        losses.append(MixtureDensityELBO(weight, max_plate_nesting=1).loss(pair.model, pair.guide, X))
    assert losses[2] == pytest.approx(0.75 * losses[0] + 0.25 * losses[1])


@pytest.mark.slow
def test_two_layers_have_the_bound_that_elbo_estimates():
    pair = dense_two_layer_dlgmm(3, num_components=2, latents=(2, 1), hidden=(6,))
    means, errors = [], []
    for objective in (ELBO(num_particles=4000, vectorize_particles=True), MixtureDensityELBO(num_particles=500)):
        rows = torch.tensor([-objective.loss(pair.model, pair.guide, X) for _ in range(12)])
        means.append(rows.mean())
        errors.append(rows.std() / 12**0.5)
    assert abs(means[0] - means[1]) < 4 * (errors[0] ** 2 + errors[1] ** 2).sqrt()
    with pytest.raises(ValueError, match="pairing must be 'full' for more than one mixture, got sites z2, z1"):
        MixtureDensityELBO(pairing="own").loss(pair.model, pair.guide, X)


def test_mixture_without_latent_weights_is_refused():
    posterior = GaussianMixturePosterior(mlp(3, [], 2 * 3), 2)
    vae = VAE(StandardNormal(1), BernoulliLikelihood(mlp(1, [], 3)), posterior)
    with pytest.raises(ValueError, match="site 'z' must be a DiagNormalMixture whose sticks are drawn at the site"):
        MixtureDensityELBO().loss(vae.model, vae.guide, X)
    with pytest.raises(ValueError, match="pairing must be one of full, own, got 'half'"):
        MixtureDensityELBO(pairing="half")


def test_networks_of_the_wrong_size_are_refused():
    with pytest.raises(ValueError, match=r"net must give 3 \* \(1 \+ 2 \* D\) values for 3 components, got 12"):
        GaussianMixturePosterior(nn.Identity(), 3)(torch.zeros(12))
    with pytest.raises(ValueError, match=r"net must give 2 \* 3 \* D values for 3 components, got 10"):
        WeightedGaussians(nn.Identity(), 3)(torch.zeros(10), torch.full((3,), 1 / 3))
    for make in (GaussianMixturePosterior, WeightedGaussians):
        with pytest.raises(ValueError, match="num_components must be at least 1, got 0"):
            make(nn.Identity(), 0)
        with pytest.raises(ValueError, match="log_variance_range must be increasing"):
            make(nn.Identity(), 1, (1.0, 1.0))


@pytest.mark.parametrize("objective", [StratifiedELBO(), MixtureDensityELBO(), MixtureDensityELBO(pairing="own")])
def test_scales_and_masks_count_in_every_term(objective):
    pair = small("spread")

    def loss(handler, **options):
        torch.manual_seed(0)
        return objective.loss(handler(pair.model, **options), handler(pair.guide, **options), X)

    loss(poutine.scale, scale=1.0)  # the first run looks for plates, with draws of its own
    whole = loss(poutine.scale, scale=1.0)
    assert loss(poutine.scale, scale=2.5) == pytest.approx(2.5 * whole)
    rows = [loss(poutine.mask, mask=torch.tensor(mask)) for mask in ([True, False], [False, True])]
    assert sum(rows) == pytest.approx(whole)
    assert min(abs(row - whole) for row in rows) > 0.1
