"""Refined proposals on models whose evidence is known."""

import math
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide import init_to_value
from pyro.infer.importance import psis_diagnostic, vectorized_importance_weights
from pyro.nn import pyro_method
from torch import nn
from toy_pairs import small_vae

from pyrodgm.distributions import DiagNormalMixture
from pyrodgm.infer import bidirectional, log_likelihood, refine
from pyrodgm.infer.evaluation.diagnostics import summarise
from pyrodgm.likelihoods import BernoulliLikelihood, DiscretizedLogisticLikelihood, GaussianLikelihood
from pyrodgm.models import VAE, Pair
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import ExemplarPrior, MixtureOfGaussians, StandardNormal, VampPrior
from pyrodgm.zoo.pairs import dense_hvae


class WrongEncoder(Pair):
    """Probabilistic PCA with a guide that is shifted, three times too narrow, and diagonal."""

    def __init__(self, latent=40, features=60, noise=0.5):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.W = nn.Parameter(torch.randn(features, latent, generator=generator) / 3)
        self.noise = noise

    @pyro_method
    def model(self, x):
        latent = self.W.shape[1]
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(latent), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.W.T, self.noise).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        covariance = torch.linalg.inv(torch.eye(self.W.shape[1]) + self.W.T @ self.W / self.noise**2)
        mean = x @ self.W @ covariance / self.noise**2
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(mean + 0.3, covariance.diagonal().sqrt() / 3).to_event(1))

    def evidence(self, x):
        covariance = self.W @ self.W.T + self.noise**2 * torch.eye(len(self.W))
        return dist.MultivariateNormal(torch.zeros(len(self.W)), covariance).log_prob(x).detach()


class Mirrored(Pair):
    """The first of x depends on the square of z alone, so the posterior has two modes; the guide knows one of them."""

    def __init__(self, size=1, noise=0.1):
        super().__init__()
        self.size = size
        self.noise = nn.Parameter(torch.tensor(noise))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(self.size), 1.0).to_event(1))
            mean = torch.cat([z[..., :1] ** 2, z[..., 1:]], -1)
            pyro.sample("x", dist.Normal(mean, self.noise).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            mean = torch.cat([x[..., :1].clamp(min=0.01).sqrt(), x[..., 1:]], -1)
            pyro.sample("z", dist.Normal(mean, 0.1).to_event(1))

    def evidence(self, x):
        z = torch.linspace(-6, 6, 20_001)
        joint = dist.Normal(0.0, 1.0).log_prob(z) + dist.Normal(z**2, self.noise.detach()).log_prob(x[:, :1])
        others = dist.Normal(0.0, (1.0 + self.noise.detach() ** 2).sqrt()).log_prob(x[:, 1:]).sum(-1)
        return joint.logsumexp(-1) + math.log(z[1] - z[0]) + others


def draw(pair, count, features):
    with torch.no_grad():
        trace = pyro.poutine.trace(pyro.poutine.uncondition(pair.model)).get_trace(torch.zeros(count, features))
    return trace.nodes["x"]["value"]


@pytest.mark.slow
def test_wrong_encoder_in_forty_dimensions():
    pair = WrongEncoder()
    torch.manual_seed(0)
    x = draw(pair, 8, 60)
    found = log_likelihood(pair, x, 12_000, seed=1)
    error = found.values - pair.evidence(x)
    assert abs(error.mean()) < 0.01
    assert error.abs().max() < 4 / found.ess.min().sqrt()
    assert found.k_hat.max() < 0.7
    assert (found.stage == 1).all()
    assert "a refined proposal" in str(found)
    worse = log_likelihood(pair, x[:2], 6000, proposal="guide", seed=1)
    assert ((worse.values - pair.evidence(x[:2])) < -1.0).all()
    assert worse.untrusted_share == 1.0


@pytest.mark.slow
def test_graphs_chunks_and_kept_draws_change_nothing():
    pair = WrongEncoder(4, 6)
    x = draw(pair, 5, 6)
    eager, traced = (log_likelihood(pair, x, 500, seed=1, compile=mode) for mode in ("eager", "traced"))
    assert torch.allclose(eager.values, traced.values, atol=1e-8)
    kept = log_likelihood(pair, x, 500, seed=1, keep=True)
    assert torch.allclose(kept.log_weights.logsumexp(0) - math.log(kept.num_samples), kept.values)
    joint = dist.Normal(0.0, 1.0).log_prob(kept.draws["z"]).sum(-1) + kept.pointwise
    mean = kept.draws["z"] @ pair.W.T.detach()
    assert torch.allclose(kept.pointwise, dist.Normal(mean, pair.noise).log_prob(x).sum(-1))
    assert torch.isfinite(joint - kept.log_weights).all()
    small = log_likelihood(pair, x, 500, seed=1, max_bytes=30_000)
    assert ((small.values - pair.evidence(x)).abs() < 5 / small.ess.sqrt()).all()


def mixture(posterior):
    prior = MixtureOfGaussians(2, 3)
    nn.init.normal_(prior.loc)
    return prior


@pytest.mark.slow
@pytest.mark.parametrize(
    "prior",
    [
        lambda q: StandardNormal(2),
        mixture,
        lambda q: VampPrior(q, torch.rand(4, 12)),
        lambda q: ExemplarPrior(q, torch.rand(20, 12).round(), num_neighbours=None),
    ],
    ids=["normal", "mixture", "vamp", "exemplar"],
)
@pytest.mark.parametrize("likelihood", ["bernoulli", "normal", "logistic"])
def test_evidence_of_two_latents_by_quadrature(prior, likelihood):
    torch.manual_seed(4)
    posterior = GaussianPosterior(mlp(12, [8], 4))
    made = {
        "bernoulli": lambda: BernoulliLikelihood(mlp(2, [8], 12)),
        "normal": lambda: GaussianLikelihood(mlp(2, [8], 24), scale=None),
        "logistic": lambda: DiscretizedLogisticLikelihood(mlp(2, [8], 24)),
    }[likelihood]()
    pair = VAE(prior(posterior), made, posterior).eval()
    x = torch.rand(4, 12).round()
    axis = torch.linspace(-9, 9, 401)
    z = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        joint = pair.prior().log_prob(z).unsqueeze(-1) + made(z.unsqueeze(1)).log_prob(x)
    exact = joint.logsumexp(0) + 2 * math.log(axis[1] - axis[0])
    found = log_likelihood(pair, x, 4000, proposal="refined", seed=0)
    assert ((found.values - exact).abs() < 4.5 * (1 / found.ess - 1 / 4000).clamp(min=1e-6).sqrt()).all()
    assert found.untrusted_share == 0.0


def test_two_levels_agree_with_many_draws_of_the_prior():
    torch.manual_seed(0)
    pair = dense_hvae(lambda posterior: StandardNormal(2), pixels=12, latents=(3, 2), hidden=8).eval()
    x = torch.rand(4, 12).round()
    with torch.no_grad():
        z2 = pair.prior().sample((100_000,))
        exact = summarise(pair.likelihood(pair.conditional_prior(z2).sample(), z2).log_prob(x.unsqueeze(1)).T)
    refined = log_likelihood(pair, x, 4000, proposal="refined", seed=0)
    assert ((refined.values - exact["values"]).abs() < 4.5 * (1 / refined.ess + 1 / exact["ess"]).sqrt()).all()
    assert refined.ess.min() > 100


def test_a_mode_that_the_guide_does_not_know_is_found():
    pair, x = Mirrored(3), torch.tensor([[1.0, 0.0, 0.5], [2.0, -1.0, 0.0], [0.02, 1.0, 1.0]])
    for seed in range(3):
        found = log_likelihood(pair, x, seed=seed)
        assert torch.allclose(found.values, pair.evidence(x).double(), atol=0.1)
        assert found.untrusted_share == 0.0


@pytest.mark.slow
def test_among_many_latents_a_missed_mode_is_half_of_the_evidence_and_shows_from_both_sides():
    pair = Mirrored(40)
    x = torch.cat([torch.tensor([[1.0], [2.0]]), torch.zeros(2, 39)], -1)
    found = log_likelihood(pair, x, seed=0)
    assert torch.allclose(found.values, pair.evidence(x).double() - math.log(2), atol=0.1)
    assert found.untrusted_share == 0.0  # no weight tells of what was never drawn
    certificate = bidirectional(pair, 40, x, seed=0)
    assert certificate.gap > 0.2


@pytest.mark.slow
def test_bounds_from_both_sides_meet():
    pair = WrongEncoder(6, 9)
    certificate = bidirectional(pair, 30, torch.zeros(1, 9), 2000, seed=1)
    assert abs(certificate.gap) < 0.05
    exact = pair.evidence(certificate.lower.x)
    assert abs((certificate.upper - exact).mean()) < 0.05
    assert "not flagged" not in str(certificate)
    assert certificate.trusted_gap == certificate.gap
    k_hat = torch.where(torch.arange(30) < 10, 0.2, 0.8)
    some = replace(certificate, lower=replace(certificate.lower, k_hat=k_hat))
    gaps = (certificate.upper - certificate.lower.values)[:10]
    assert math.isclose(some.trusted_gap, gaps.mean())
    assert math.isclose(some.trusted_standard_error, gaps.std() / 10**0.5)
    assert f"{some.trusted_gap:.3f} ± {some.trusted_standard_error:.3f} of the 10 not flagged" in str(some)
    none = replace(certificate, lower=replace(certificate.lower, k_hat=torch.full((30,), torch.inf)))
    assert math.isnan(none.trusted_gap)
    assert math.isnan(none.trusted_standard_error)
    assert "not flagged" not in str(none)


@pytest.mark.slow
def test_the_guide_of_a_datum_serves_pyro():
    pair = WrongEncoder(6, 9)
    torch.manual_seed(0)
    x = draw(pair, 1, 9)
    guide = refine(pair, x, seed=0)
    with torch.no_grad():
        weights, _, _ = vectorized_importance_weights(pair.model, guide, x, num_samples=4000, max_plate_nesting=1)
        assert psis_diagnostic(pair.model, guide, x, num_particles=1000, max_plate_nesting=1) < 0.5
    assert weights.logsumexp(0).item() - math.log(4000) == pytest.approx(pair.evidence(x).item(), abs=0.05)
    draws = pyro.infer.Predictive(pair.model, guide=guide, num_samples=2000)(x)["z"].squeeze(1)
    assert torch.allclose(draws.mean(0), guide.mean["z"], atol=0.1)
    with pytest.raises(ValueError, match="the 1 data that the guide was refined on"):
        guide(x + 1.0)


@pytest.mark.slow
def test_the_guide_of_a_datum_starts_nuts():
    pair = WrongEncoder(2, 3).requires_grad_(False)
    x = draw(pair, 2, 3)
    guide = refine(pair, x, seed=0)
    start = {name: value.expand(2, 2) for name, value in guide.mean.items()}
    fixed = {"step_size": 0.25, "adapt_step_size": False, "adapt_mass_matrix": False, "max_tree_depth": 4}
    kernel = NUTS(pair.model, init_strategy=init_to_value(values=start), **fixed)
    chain = MCMC(kernel, num_samples=100, warmup_steps=0, disable_progbar=True)
    pyro.set_rng_seed(0)
    chain.run(x)
    covariance = torch.linalg.inv(torch.eye(2) + pair.W.T @ pair.W / pair.noise**2)
    exact = x @ pair.W @ covariance / pair.noise**2
    assert torch.allclose(guide.mean["z"], exact, atol=1e-6)
    assert torch.allclose(chain.get_samples()["z"].mean(0), exact, atol=0.25)


@pytest.mark.slow
def test_data_that_the_proposal_does_not_fit_get_a_later_stage():
    class Ridge(Mirrored):
        """Latents on a thin curve."""

        @pyro_method
        def model(self, x):
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                radius = (z[..., :1] ** 2 + 3 * z[..., 1:] ** 2).sqrt()
                pyro.sample("x", dist.Normal(radius, 0.01).to_event(1), obs=x)

        @pyro_method
        def guide(self, x):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(torch.tensor([1.0, 0.0]), 0.3).to_event(1))

    found = log_likelihood(Ridge(), torch.tensor([[1.5]]), 6000, seed=0)
    assert found.stage.item() in (2, 3)
    assert found.evaluations > 6000
    assert found.fallback_share == 1.0


def test_what_is_not_supported_falls_back_and_says_so():
    class Discrete(WrongEncoder):
        @pyro_method
        def model(self, x):
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("z", dist.Poisson(torch.full((2,), 0.5)).to_event(1))
                pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True), 1.0).to_event(1), obs=x)

        @pyro_method
        def guide(self, x):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Poisson(torch.full((2,), 0.4)).to_event(1))

    x = torch.zeros(2, 1)
    with pytest.warns(UserWarning, match="not refined, the guide serves: site 'z', of family Poisson, is not real"):
        found = log_likelihood(Discrete(), x, 100, proposal="refined")
    assert (found.stage == 0).all()
    assert (log_likelihood(Discrete(), x, 100).stage == 0).all()
    with pytest.warns(UserWarning, match="num_samples must be at least 516 for 40 latents, got 100"):
        log_likelihood(WrongEncoder(), torch.zeros(1, 60), 100, proposal="refined")
    with pytest.raises(ValueError, match="proposal must be one of auto, refined, guide, got 'best'"):
        log_likelihood(WrongEncoder(), torch.zeros(1, 60), 100, proposal="best")


def test_data_outside_the_support_are_refused():
    posterior = GaussianPosterior(mlp(4, [3], 4))
    pair = VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [3], 4)), posterior)
    x = torch.ones(3, 4)
    x[1, 2] = 0.4
    with pytest.raises(ValueError, match=r"support of site 'x'.*but datum 1 does not"):
        log_likelihood(pair, x, 10)


def test_mean_precision_of_a_mixture():
    mixture = DiagNormalMixture(torch.zeros(2), torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [0.5]]))
    value = torch.tensor([[0.0], [4.0], [2.0]])
    weights = mixture.responsibilities(value)
    assert torch.allclose(mixture.mean_precision(value), weights[:, :1] * 1.0 + weights[:, 1:] * 4.0)


def test_the_refined_guide_of_values_as_coordinates_runs_no_decoder():
    vae = small_vae(5, 2, 7).eval()
    guide = refine(vae, torch.ones(2, 5), seed=0)
    vae.likelihood = None
    with torch.no_grad():
        assert guide(torch.ones(2, 5))["z"].shape == guide.mean["z"].shape == (2, 2)
