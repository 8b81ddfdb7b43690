"""Latents and likelihoods of many families in programs of one latent a datum, whose evidence quadrature gives."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.importance import vectorized_importance_weights
from pyro.nn import pyro_method
from torch.distributions import biject_to
from torch.func import jvp

from pyrodgm.infer import log_likelihood, refine
from pyrodgm.infer.evaluation.diagnostics import summarise
from pyrodgm.infer.evaluation.refined.bijections import Identity, bijection
from pyrodgm.infer.evaluation.refined.centring import normal_of
from pyrodgm.infer.evaluation.refined.constrained import Constrained, density
from pyrodgm.infer.evaluation.refined.curvature import fisher_features, prior_features
from pyrodgm.models import Pair

REAL = {
    "normal": lambda: dist.Normal(torch.tensor(0.5), torch.tensor(1.5)),
    "student": lambda: dist.StudentT(torch.tensor(4.0), torch.tensor(0.5), torch.tensor(0.7)),
    "cauchy": lambda: dist.Cauchy(torch.tensor(0.5), torch.tensor(0.7)),
    "laplace": lambda: dist.Laplace(torch.tensor(-0.5), torch.tensor(0.7)),
}
POSITIVE = {
    "log-normal": lambda: dist.LogNormal(torch.tensor(0.5), torch.tensor(0.8)),
    "gamma": lambda: dist.Gamma(torch.tensor(2.5), torch.tensor(1.5)),
    "gamma of small shape": lambda: dist.Gamma(torch.tensor(0.3), torch.tensor(0.2)),
    "chi-square": lambda: dist.Chi2(torch.tensor(3.0)),
    "inverse gamma": lambda: dist.InverseGamma(torch.tensor(2.5), torch.tensor(1.5)),
    "exponential": lambda: dist.Exponential(torch.tensor(0.7)),
    "inverse gamma of small shape": lambda: dist.InverseGamma(torch.tensor(0.4), torch.tensor(1.5)),
    "weibull of small shape": lambda: dist.Weibull(torch.tensor(1.5), torch.tensor(0.4)),
    "weibull": lambda: dist.Weibull(torch.tensor(1.5), torch.tensor(1.7)),
    "half-normal": lambda: dist.HalfNormal(torch.tensor(1.5)),
    "half-cauchy": lambda: dist.HalfCauchy(torch.tensor(1.5)),
}
FRACTION = {
    "beta": lambda: dist.Beta(torch.tensor(2.0), torch.tensor(0.7)),
    "beta of small shapes": lambda: dist.Beta(torch.tensor(0.2), torch.tensor(0.3)),
    "uniform": lambda: dist.Uniform(torch.tensor(-1.0), torch.tensor(3.0)),
    "normal through a sigmoid": lambda: dist.TransformedDistribution(
        dist.Normal(torch.tensor(0.5), torch.tensor(1.5)), dist.transforms.SigmoidTransform()
    ),
}
PRIORS = REAL | POSITIVE | FRACTION
LIKELIHOODS = {
    "normal": (lambda z: dist.Normal(z, 0.6), 1.2),
    "normal scale": (lambda z: dist.Normal(0.3, (0.3 * z).exp()), 1.2),
    "student": (lambda z: dist.StudentT(4.0, z, 0.6), 1.2),
    "student scale": (lambda z: dist.StudentT(4.0, 0.3, (0.3 * z).exp()), 1.2),
    "cauchy": (lambda z: dist.Cauchy(z, (0.2 * z).exp()), 1.2),
    "laplace": (lambda z: dist.Laplace(z, 0.6), 1.2),
    "log-normal": (lambda z: dist.LogNormal(z, 0.6), 3.0),
    "poisson": (lambda z: dist.Poisson((0.8 * z).exp()), 3.0),
    "exponential": (lambda z: dist.Exponential((0.8 * z).exp()), 0.7),
    "binomial": (lambda z: dist.Binomial(7, logits=z), 5.0),
    "continuous bernoulli": (lambda z: dist.ContinuousBernoulli(logits=3.0 * z), 0.8),
    "bernoulli": (lambda z: dist.Bernoulli(logits=2.0 * z), 1.0),
    "multivariate normal": (
        lambda z: dist.MultivariateNormal(torch.stack([z, z.sin()], -1), torch.tensor([[1.0, 0.5], [0.5, 0.8]])),
        1.2,
    ),
}


class OneLatent(Pair):
    """z of one family, a number or a vector of one, then x of another; guided by the prior."""

    def __init__(self, prior, likelihood, vector=False):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(()))
        self.prior, self.likelihood, self.vector = prior, likelihood, vector

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            prior = self.prior()
            z = pyro.sample("z", prior.expand([1]).to_event(1) if self.vector else prior)
            pyro.sample("x", self.likelihood(z.squeeze(-1) if self.vector else z), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", self.prior().expand([1]).to_event(1) if self.vector else self.prior())

    def evidence(self, x):
        prior = self.prior()
        transform = biject_to(prior.support)
        u = torch.linspace(-200.0, 60.0, 400_001)
        z = transform(u)
        inside = (z > 0.0) & (z < 1e12) if z.min() >= 0.0 else z > -torch.inf  # what rounds to an end has no mass here
        z = torch.where(inside, z, 0.5)
        joint = prior.log_prob(z) + transform.log_abs_det_jacobian(u, z) + self.likelihood(z).log_prob(x)
        return torch.where(inside, joint, -torch.inf).logsumexp(-1) + math.log(u[1] - u[0])


def check_evidence(pair, x):
    found = log_likelihood(pair, x, 4000, proposal="refined", seed=0)
    assert (found.stage > 0).all()
    assert found.untrusted_share == 0.0
    assert abs(found.values - pair.evidence(x)).item() < 4.5 / found.ess.sqrt().item()


@pytest.mark.parametrize("noise", [0.6, 20.0], ids=["strong data", "weak data"])
@pytest.mark.parametrize("vector", [False, True], ids=["number", "vector"])
@pytest.mark.parametrize("name", PRIORS)
def test_evidence_under_each_prior_by_quadrature(name, vector, noise):
    pair = OneLatent(PRIORS[name], lambda z: dist.Normal(z, noise), vector)
    x = torch.tensor([1.2])
    check_evidence(pair, x)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_evidence_under_each_likelihood_by_quadrature(name):
    likelihood, value = LIKELIHOODS[name]
    pair = OneLatent(REAL["normal"], likelihood)
    x = torch.tensor([[value, 0.2]]) if name == "multivariate normal" else torch.tensor([value])
    check_evidence(pair, x)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_curvature_of_a_likelihood_is_the_mean_square_of_its_score(name):
    torch.manual_seed(0)
    likelihood, _ = LIKELIHOODS[name]
    z = torch.tensor([0.4])
    _, slopes = jvp(lambda v: torch.cat(fisher_features(likelihood(v)), -1), (z,), (torch.ones(1),))
    many = z.expand(200_000).clone().requires_grad_()
    fn = likelihood(many)
    value = fn.sample() if fn.batch_shape == many.shape else fn.sample(many.shape)
    score = torch.autograd.grad(fn.log_prob(value).sum(), many)[0].square()
    assert (slopes.square().sum() - score.mean()).abs() < 5.0 * score.std() / math.sqrt(200_000) + 1e-12


@pytest.mark.parametrize("name", ["multivariate", "low rank", "normal"])
def test_curvature_of_a_normal_prior_is_minus_its_hessian(name):
    torch.manual_seed(0)
    factor, z = torch.randn(3, 2), torch.randn(3)
    fn = {
        "multivariate": dist.MultivariateNormal(torch.randn(3), factor @ factor.T + torch.eye(3)),
        "low rank": dist.LowRankMultivariateNormal(torch.randn(3), factor, torch.rand(3) + 0.5),
        "normal": dist.Normal(torch.randn(3), torch.rand(3) + 0.5).to_event(1),
    }[name]
    jacobian = torch.func.jacfwd(lambda v: torch.cat([part.flatten() for part in prior_features(fn, v)]))(z)
    assert torch.allclose(jacobian.T @ jacobian, -torch.func.hessian(fn.log_prob)(z))


@pytest.mark.parametrize("name", ["student", "cauchy", "laplace"])
def test_curvature_of_a_heavy_tailed_prior_is_the_information_of_its_location(name):
    torch.manual_seed(0)
    fn, z = REAL[name](), torch.tensor(0.9)
    _, slope = jvp(lambda v: prior_features(fn, v)[0], (z,), (torch.ones(()),))
    draws = fn.sample((200_000,)).requires_grad_()
    score = torch.autograd.grad(fn.log_prob(draws).sum(), draws)[0].square()
    assert (slope.square().sum() - score.mean()).abs() < 5.0 * score.std() / math.sqrt(200_000) + 1e-12


@pytest.mark.parametrize("name", POSITIVE | FRACTION)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_density_in_coordinates_is_that_of_the_values_times_the_jacobian(name, dtype):
    fn = PRIORS[name]()
    end = 1.5 if name in FRACTION else 3.0  # beyond it 1 - z, which the value's density needs, is rounded away
    coordinates, u = bijection(fn), torch.linspace(-end, end, 31, dtype=dtype)
    z, slope = jvp(coordinates.place, (u,), (torch.ones_like(u),))
    exact = fn.log_prob(coordinates.place(u.double())) + slope.double().abs().log()
    tolerance = 1e-10 if dtype is torch.float64 else 1e-4
    assert torch.allclose(coordinates.log_density(u, z).double(), exact, rtol=tolerance, atol=tolerance)
    assert torch.allclose(coordinates.standardise(z), u, rtol=1e-4 if dtype is torch.float32 else 1e-9, atol=tolerance)


@pytest.mark.parametrize(
    "name", [name for name in POSITIVE | FRACTION if type(bijection(PRIORS[name]())) is Constrained]
)
def test_curvature_is_minus_the_second_derivative(name):
    fn = PRIORS[name]()
    u = torch.linspace(-4.0, 3.0, 15).requires_grad_()
    log_p, curvature = density(fn, u)
    slope = torch.autograd.grad(log_p.sum(), u, create_graph=True)[0]
    second = torch.autograd.grad(slope.sum(), u)[0]
    assert torch.allclose(curvature, -second, atol=1e-10)
    assert isinstance(bijection(fn.expand([3]).to_event(1)), Constrained)


def test_folded_normals_are_not_taken_for_transformed_ones():
    folded = dist.TransformedDistribution(dist.Normal(torch.tensor(0.5), 1.0), dist.transforms.AbsTransform())
    assert isinstance(bijection(folded), Identity)
    assert normal_of(folded) is None


def test_a_correlated_normal_prior_has_its_closed_form():
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.2]])

    class Correlated(OneLatent):
        @pyro_method
        def model(self, x):
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("z", dist.MultivariateNormal(self.anchor.expand(2), covariance))
                pyro.sample("x", dist.Normal(z, 0.3).to_event(1), obs=x)

        @pyro_method
        def guide(self, x):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    x = torch.tensor([[2.0, 0.5], [-0.3, 0.4]])
    found = log_likelihood(Correlated(None, None), x, 4000, proposal="refined", seed=0)
    exact = dist.MultivariateNormal(torch.zeros(2), covariance + 0.09 * torch.eye(2)).log_prob(x)
    assert ((found.values - exact).abs() < 4.5 / found.ess.sqrt()).all()
    assert (found.stage == 1).all()


def test_positive_latents_given_others_and_the_refined_guide():
    class Scales(OneLatent):
        @pyro_method
        def model(self, x):
            with pyro.plate("data", len(x), dim=-1):
                rate = pyro.sample("rate", dist.Gamma(torch.tensor(2.0), 1.0 + self.anchor))
                scale = pyro.sample("scale", dist.LogNormal(-rate, 0.05))
                pyro.sample("x", dist.Normal(0.0, scale), obs=x)

        @pyro_method
        def guide(self, x):
            with pyro.plate("data", len(x), dim=-1):
                rate = pyro.sample("rate", dist.Gamma(torch.tensor(2.0), torch.tensor(1.0)))
                pyro.sample("scale", dist.LogNormal(-rate, 0.05))

    pair, x = Scales(None, None), torch.tensor([0.4, -0.02])
    found = log_likelihood(pair, x, 4000, proposal="refined", seed=0)
    rate, noise = torch.linspace(1e-6, 40.0, 20_001)[:, None, None], torch.linspace(-8.0, 8.0, 401)[:, None]
    joint = dist.Gamma(2.0, 1.0).log_prob(rate) + dist.Normal(0.0, 1.0).log_prob(noise)
    joint = joint + dist.Normal(0.0, (-rate + 0.05 * noise).exp()).log_prob(x)
    exact = joint.flatten(0, 1).logsumexp(0) + math.log(40.0 / 20_000) + math.log(16.0 / 400)
    assert ((found.values - exact).abs() < 4.5 / found.ess.sqrt()).all()
    assert found.untrusted_share == 0.0
    guide = refine(pair, x[:1], seed=0)
    with torch.no_grad():
        weights, _, _ = vectorized_importance_weights(pair.model, guide, x[:1], num_samples=4000, max_plate_nesting=1)
    by_pyro = summarise(weights.unsqueeze(-1))
    assert abs(by_pyro["values"] - exact[0]) < 4.5 / by_pyro["ess"].sqrt()
    assert (guide.mean["scale"] > 0.0).all()


@pytest.mark.parametrize("concentration", [[2.0, 0.7, 1.5], [0.2, 0.1, 0.3], [30.0, 1.0, 4.0]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coordinates_of_a_simplex_have_the_density_of_the_weights(concentration, dtype):
    torch.manual_seed(0)
    fn = dist.Dirichlet(torch.tensor(concentration, dtype=dtype))
    coordinates, u = bijection(fn), torch.randn(20, 2, dtype=dtype)
    weights = coordinates.place(u)
    assert torch.allclose(weights.sum(-1), torch.ones(20, dtype=dtype))
    jacobian = torch.stack([torch.func.jacfwd(lambda v: coordinates.place(v)[:-1])(row) for row in u.double()])
    exact = (
        dist.Dirichlet(fn.concentration.double()).log_prob(coordinates.place(u.double())) + jacobian.det().abs().log()
    )
    tolerance = 1e-4 if dtype is torch.float32 else 1e-10
    assert torch.allclose(coordinates.log_density(u, weights).double(), exact, rtol=tolerance, atol=tolerance)
    assert torch.allclose(coordinates.standardise(weights), u, rtol=1e-3 if dtype is torch.float32 else 1e-9, atol=1e-4)


def test_topics_of_a_document_have_the_evidence_of_their_counts():
    concentration, counts = (
        torch.tensor([0.5, 1.5, 3.0, 0.2]),
        torch.tensor([[3.0, 0.0, 5.0, 1.0], [0.0, 1.0, 0.0, 0.0]]),
    )

    class Topics(OneLatent):
        @pyro_method
        def model(self, x):
            with pyro.plate("data", len(x), dim=-1):
                weights = pyro.sample("weights", dist.Dirichlet(concentration + self.anchor))
                pyro.sample("x", dist.Poisson(4.0 * weights).to_event(1), obs=x)

        @pyro_method
        def guide(self, x):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("weights", dist.Dirichlet(torch.ones(4)))

    pair = Topics(None, None)
    found = log_likelihood(pair, counts, 4000, proposal="refined", seed=0)
    # Poisson counts with rates 4 pi are a Poisson total of mean 4, split as the Dirichlet-multinomial has it.
    exact = torch.stack(
        [
            dist.Poisson(4.0).log_prob(row.sum()) + dist.DirichletMultinomial(concentration, row.sum()).log_prob(row)
            for row in counts
        ]
    )
    assert ((found.values - exact).abs() < 4.5 / found.ess.sqrt()).all()
    assert (found.stage > 0).all()
    assert found.untrusted_share == 0.0
    guide = refine(pair, counts[:1], seed=0)
    with torch.no_grad():
        weights, _, _ = vectorized_importance_weights(
            pair.model, guide, counts[:1], num_samples=4000, max_plate_nesting=1
        )
    by_pyro = summarise(weights.unsqueeze(-1))
    assert abs(by_pyro["values"] - exact[0]) < 4.5 / by_pyro["ess"].sqrt()
    assert torch.allclose(guide.mean["weights"].sum(-1), torch.ones(1))
