"""The exact values of random pairs, which all estimators are held against, by quadrature of another kind."""

from dataclasses import replace

import pyro.distributions as dist
import pytest
import torch

from pyrodgm.testing.evidence import exact_posterior
from pyrodgm.testing.exact import drawn_sites, exact_elbo, exact_rule, gamma_divergence, guide_values
from pyrodgm.testing.features import Features
from pyrodgm.testing.random_pair import RandomPair, counted, rare


def likelihood(kind, predictor):
    return dist.Bernoulli(logits=predictor) if kind == "bernoulli" else dist.Poisson(predictor.exp())


@pytest.mark.parametrize("kind", ["bernoulli", "poisson"])
@pytest.mark.parametrize(
    "others", [{}, {"second_latent": True}, {"second_latent": True, "reversed_guide": True, "own_site": "paired"}]
)
def test_counts_add_their_expectation_to_the_bound(kind, others):
    """The predictor is normal under the guide, so that a dense sum over it gives the expectation."""
    features = Features(count=kind, rate="paired", seed=5, **others)
    pair, without = (RandomPair(f) for f in (features, replace(features, count="none")))
    (x,), w = pair.batch(3), pair.weights
    names = drawn_sites(pair)
    noise = torch.cat([torch.zeros(1, len(names)), torch.eye(len(names))])[:-1]  # r is the last
    values = guide_values(pair, x, {name: noise[:, i] for i, name in enumerate(names)}, 0.0)
    predictor = w["c_of_z1"] * values["z1"] + (w["c_of_z2"] * values["z2"] if features.second_latent else 0.0)
    mean, spread = predictor[0], (predictor[1:] - predictor[0]).square().sum(0).sqrt()
    t = torch.linspace(-12.0, 12.0, 20_001).unsqueeze(-1)
    density = dist.Normal(0.0, 1.0).log_prob(t).exp()
    log_p = likelihood(kind, mean + spread * t).log_prob(counted(x, kind))
    right = torch.trapezoid(density * log_p, t, dim=0).sum()
    found = exact_elbo(pair, (x,), exact_rule(pair)) - exact_elbo(without, (x,), exact_rule(without))
    assert found.item() == pytest.approx(right.item(), rel=1e-6)


@pytest.mark.parametrize("kind", ["none", "bernoulli", "poisson"])
@pytest.mark.parametrize("others", [{}, {"model_only": True, "own_site": "model", "rate": "model"}])
def test_evidence_and_moments_are_those_of_a_dense_sum(kind, others):
    pair = RandomPair(Features(count=kind, seed=8, **others))
    (x,), w, f = pair.batch(4), pair.weights, pair.features
    with torch.no_grad():
        z = torch.linspace(-12.0, 12.0, 20_001).unsqueeze(-1)
        spread, variance = w["prior_scale"].square(), w["x_scale"].square()
        mean = w["prior_loc"]
        if f.own_site != "none":
            mean, spread = mean + w["tau_loc"], spread + w["tau_scale"].square()
        of_z = 1.0 + (w["x_of_u"] * w["u_of_z1"] if f.model_only else 0.0)
        variance = variance + ((w["x_of_u"] * w["u_scale"]).square() if f.model_only else 0.0)
        joint = dist.Normal(mean, spread.sqrt()).log_prob(z) + dist.Normal(of_z * z, variance.sqrt()).log_prob(x)
        if kind != "none":
            joint = joint + likelihood(kind, w["c_of_z1"] * z).log_prob(counted(x, kind))
        evidence = torch.trapezoid(joint.exp(), z, dim=0)
        first, second = (torch.trapezoid(joint.exp() * z**k, z, dim=0) / evidence for k in (1, 2))
        log_evidence = evidence.log()
        if f.rate != "none":
            t = torch.linspace(-60.0, 6.0, 100_001).unsqueeze(-1)  # log r
            rates = dist.Gamma(w["r_shape"], w["r_rate"]).log_prob(t.exp()) + t
            rates = rates + dist.Poisson(t.exp()).log_prob(rare(x))
            log_evidence = log_evidence + torch.trapezoid(rates.exp(), t, dim=0).log()
    found = exact_posterior(pair, (x,))
    assert torch.allclose(found.log_evidence, log_evidence, rtol=1e-9)
    assert torch.allclose(found.mean, first, rtol=1e-9)
    assert torch.allclose(found.variance, second - first**2, rtol=1e-8)


def test_divergence_of_gamma_distributions():
    q, p = dist.Gamma(0.7, 1.3), dist.Gamma(2.5, 0.4)
    found = gamma_divergence(*map(torch.tensor, (0.7, 1.3, 2.5, 0.4)))
    assert found.item() == pytest.approx(torch.distributions.kl_divergence(q, p).item())
