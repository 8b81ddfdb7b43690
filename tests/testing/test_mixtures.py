"""Estimators of mixture posteriors on programs that nobody chose, and the exact values that they are held against."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from pyrodgm.infer import ELBO
from pyrodgm.testing.check_mixtures import check_mixtures, mixture_noise
from pyrodgm.testing.exact_mixtures import (
    MixtureNoise,
    density_bound,
    mixture_evidence,
    mixture_terms,
    stratified_bound,
)
from pyrodgm.testing.mixture_pair import MixtureFeatures, MixturePair, random_mixtures
from pyrodgm.testing.noise import hermite

PROGRAMS = list(random_mixtures(40))
LATENT = MixtureFeatures(sticks=True, mixture_prior=True, second=True, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("group", range(4))
def test_estimators_on_random_mixtures(group):
    for features in PROGRAMS[group::4]:
        check_mixtures(features, thorough=features.seed % 8 == 0)


def test_every_feature_is_there():
    counts = Counter(name for features in PROGRAMS for name in features.names())
    everything = {name for features in random_mixtures(500) for name in features.names()}
    assert everything == counts.keys()
    assert len(everything) == 11


def quadrature(nodes):
    """Noise of one fraction, one element and ``v`` on a grid, with its weights."""
    normals, of_normals = hermite(nodes)
    uniform, of_uniform = (torch.from_numpy(part) / 2 for part in np.polynomial.legendre.leggauss(2 * nodes))
    sticks, z, v = torch.cartesian_prod(-(uniform + 0.5).log(), normals, normals).T
    shares = torch.cartesian_prod(of_uniform, of_normals, of_normals).prod(-1)
    return MixtureNoise(sticks.unsqueeze(-1), z.unsqueeze(-1), v), shares


def test_expected_weights_do_not_change_the_bound():
    """Both forms have the evidence lower bound as expectation, and so has ``ELBO``, which draws a component."""
    pair = MixturePair(LATENT)
    x = pair.batch(3)
    with torch.no_grad():
        noise, shares = quadrature(14)
        terms = mixture_terms(pair, x, noise)
        drawn = shares @ stratified_bound(terms, 1.0)
        expected = shares @ density_bound(terms, 1.0, False, True)
        published = shares @ density_bound(terms, 1.0, True, True)
        assert expected.item() == pytest.approx(drawn.item(), abs=2e-4)
        assert drawn < mixture_evidence(pair, x).sum()
        assert published < drawn
        losses = torch.stack(
            [
                ELBO(num_particles=500, vectorize_particles=True).differentiable_loss(pair.model, pair.guide, x)
                for _ in range(20)
            ]
        )
        assert -losses.mean().item() == pytest.approx(drawn.item(), abs=5 * losses.std().item() / math.sqrt(20))


def test_evidence_is_that_of_draws_from_the_prior():
    pair = MixturePair(LATENT)
    x = pair.batch(2)
    w, count = pair.weights, 400_000
    with torch.no_grad():
        fractions = 1.0 - torch.rand(count) ** (1.0 / w["concentration"])
        component = (torch.rand(count) >= fractions).long()
        z = w["p_loc"][component] + w["p_scale"][component] * torch.randn(count, 1)
        v = w["v_of_z"] * z.sum(-1) + w["v_scale"] * torch.randn(count)
        mean = z @ w["x_of_z"].mT + w["x_of_v"] * v.unsqueeze(-1)
        density = torch.distributions.Normal(mean, w["x_scale"]).log_prob(x.unsqueeze(1)).sum(-1).exp()
        error = density.std(1) / density.mean(1) / math.sqrt(count)
        assert ((density.mean(1).log() - mixture_evidence(pair, x)).abs() < 5.0 * error).all()


def test_noise_is_the_same_each_time():
    first, second = (mixture_noise(MixturePair(LATENT), 4) for _ in range(2))
    assert torch.equal(first.z, second.z)
