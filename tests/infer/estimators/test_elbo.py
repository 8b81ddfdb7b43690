"""The estimators against the exact evidence of a linear-Gaussian model and its exact gradients."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.nn import PyroModule, pyro_method
from torch import nn
from toy_pairs import LinearGaussian

from pyrodgm.infer import ELBO, IWELBO
from pyrodgm.infer.tracing.contexts import own_parameters

X = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)


def exact_elbo(pair, x):
    """Expected log joint plus entropy, by hand."""
    m, s = pair.m * x, pair.log_s.exp()
    second = m**2 + s**2
    log_x = -0.5 * math.log(2 * math.pi) - 0.5 * (x**2 - 2 * x * pair.a * m + pair.a**2 * second)
    log_z = -0.5 * math.log(2 * math.pi) - 0.5 * second
    return log_x + log_z + 0.5 * math.log(2 * math.pi * math.e) + pair.log_s


def gradients(loss, pair):
    return torch.stack(torch.autograd.grad(loss, list(pair.parameters())))


def test_elbo_equals_closed_form_where_the_data_term_is_averaged():
    pair = LinearGaussian()
    elbo = ELBO(num_particles=200_000, vectorize_particles=True)
    loss = elbo.differentiable_loss(pair.model, pair.guide, X)
    exact = -exact_elbo(pair, X).sum()
    assert loss.item() == pytest.approx(exact.item(), abs=0.02)
    assert torch.allclose(gradients(loss, pair), gradients(exact, pair), atol=0.03)


def test_elbo_equals_mean_field_elbo_of_pyro_under_the_same_noise():
    pair = LinearGaussian()
    for kwargs in ({}, {"num_particles": 3}, {"num_particles": 3, "vectorize_particles": True}):
        pyro.set_rng_seed(1)
        ours = ELBO(**kwargs).differentiable_loss(pair.model, pair.guide, X)
        pyro.set_rng_seed(1)
        theirs = TraceMeanField_ELBO(**kwargs).differentiable_loss(pair.model, pair.guide, X)
        assert torch.allclose(gradients(ours, pair), gradients(theirs, pair))
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)


def test_kl_weight_scales_the_divergence_alone():
    pair = LinearGaussian()
    losses = []
    for weight in (0.0, 1.0, 0.25):
        pyro.set_rng_seed(1)
        losses.append(ELBO(kl_weight=weight).loss(pair.model, pair.guide, X))
    assert losses[2] == pytest.approx(0.75 * losses[0] + 0.25 * losses[1])
    kl = 0.5 * ((0.3 * X) ** 2 + math.exp(-0.4) - 1 + 0.4).sum()
    assert losses[1] - losses[0] == pytest.approx(kl.item())


class Chain(PyroModule):
    """Two latents; the guide draws them from the data upwards or from the top downwards."""

    def __init__(self, upwards):
        super().__init__()
        self.upwards = upwards

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(0.0, 1.0))
            z1 = pyro.sample("z1", dist.Normal(z2, 1.0))
            pyro.sample("x", dist.Normal(z1, 1.0), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x)):
            if self.upwards:
                z1 = pyro.sample("z1", dist.Normal(0.5 * x, 0.6))
                pyro.sample("z2", dist.Normal(0.5 * z1, 0.8))
            else:
                z2 = pyro.sample("z2", dist.Normal(0.3 * x, 0.9))
                pyro.sample("z1", dist.Normal(0.4 * (x + z2), 0.7))


@pytest.mark.slow
@pytest.mark.parametrize(("upwards", "z1"), [(True, "sampled"), (False, "exact")])
def test_exact_divergence_only_where_it_is_right(upwards, z1):
    pair = Chain(upwards)
    assert ELBO().describe(pair.model, pair.guide, X) == {"z1": z1, "z2": "exact"}
    many = {"num_particles": 400_000, "vectorize_particles": True, "max_plate_nesting": 1}
    ours = ELBO(**many).loss(pair.model, pair.guide, X)
    assert ours == pytest.approx(Trace_ELBO(**many).loss(pair.model, pair.guide, X), abs=0.02)


def test_unregistered_divergence_is_sampled_and_said_so():
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.StudentT(3.0))

    pair = LinearGaussian()
    assert ELBO().describe(model, pair.guide, X) == {"z": "sampled"}


@pytest.mark.parametrize("objective", [ELBO(), IWELBO(3)], ids=["ELBO", "IWELBO"])
def test_site_without_rsample_is_refused_by_name(objective):
    def program(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(0.3 * torch.ones(2)).to_event(1))

    with pytest.raises(ValueError, match=r"site 'z' is Bernoulli, which has no rsample"):
        objective.differentiable_loss(program, program, X)


@pytest.mark.parametrize("gradient", ["reparam", "stl", "dreg"])
@pytest.mark.parametrize("num_particles", [1, 7])
def test_bound_with_the_exact_guide_is_the_evidence(gradient, num_particles):
    pair = LinearGaussian().exact()
    loss = IWELBO(num_particles, gradient=gradient).differentiable_loss(pair.model, pair.guide, X)
    assert loss.item() == pytest.approx(-pair.evidence(X).sum().item(), rel=1e-12)


@pytest.mark.slow
def test_bound_rises_with_particles_to_the_evidence_and_falls_with_alpha():
    pair = LinearGaussian(slope=0.1, log_scale=0.3)
    x = X.repeat(20_000)
    evidence = pair.evidence(x).sum().item()
    bounds = [-IWELBO(k).loss(pair.model, pair.guide, x) for k in (1, 2, 8, 64)]
    assert bounds == sorted(bounds)
    assert bounds[-1] < evidence
    assert bounds[-1] == pytest.approx(evidence, rel=2e-2)
    orders = [-IWELBO(8, alpha=a).loss(pair.model, pair.guide, x) for a in (-1.0, 0.0, 0.5, 2.0)]
    assert orders == sorted(orders, reverse=True)


def test_bound_equals_renyi_elbo_of_pyro_where_that_is_right():
    pair = LinearGaussian()
    for alpha in (0.0, 0.5):
        pyro.set_rng_seed(1)
        ours = IWELBO(5, alpha=alpha, max_plate_nesting=1).differentiable_loss(pair.model, pair.guide, X)
        pyro.set_rng_seed(1)
        renyi = RenyiELBO(alpha=alpha, num_particles=5, vectorize_particles=True, max_plate_nesting=1)
        with pyro.poutine.trace(param_only=True):
            theirs = renyi.loss(pair.model, pair.guide, X)
        assert ours.item() == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("gradient", ["reparam", "dreg"])
def test_subsampling_scales_outside_the_logarithm(gradient):
    whole = LinearGaussian()
    part = LinearGaussian(size=300)  # three of three hundred data: a scale of 100
    pyro.set_rng_seed(1)
    small = IWELBO(5, gradient=gradient).differentiable_loss(whole.model, whole.guide, X)
    pyro.set_rng_seed(1)
    large = IWELBO(5, gradient=gradient).differentiable_loss(part.model, part.guide, X)
    assert large.item() == pytest.approx(100 * small.item(), rel=1e-12)
    assert torch.allclose(gradients(large, part), 100 * gradients(small, whole))
    assert -large.item() < 100 * part.evidence(X).sum().item()


def test_subsampled_plate_that_is_not_shared_is_refused():
    def model(x):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 100, subsample=torch.arange(len(x))):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        pyro.sample("z", dist.Normal(0.0, 1.0))

    with pytest.raises(ValueError, match=r"site 'x' must have no scale but that of subsampled plates"):
        IWELBO(3).differentiable_loss(model, guide, X)


def test_global_latent_is_one_row():
    def model(x):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def posterior(x):
        precision = 1.0 + len(x)
        pyro.sample("z", dist.Normal(x.sum() / precision, precision**-0.5))

    evidence = dist.MultivariateNormal(torch.zeros(3), torch.eye(3) + torch.ones(3, 3)).log_prob(X)
    assert IWELBO(4).loss(model, posterior, X) == pytest.approx(-evidence.item(), rel=1e-12)


def bound_gradient_by_quadrature(pair, x, alpha):
    """Gradient of the two-particle bound of one datum, by Gauss-Hermite quadrature over both noises."""
    nodes, weights = torch.as_tensor(HERMITE[0]), torch.as_tensor(HERMITE[1])
    e1, e2 = torch.meshgrid(nodes, nodes, indexing="ij")
    w = weights[:, None] * weights[None, :]

    def log_w(e):
        z = pair.m * x + pair.log_s.exp() * e
        joint = dist.Normal(0.0, 1.0).log_prob(z) + dist.Normal(pair.a * z, 1.0).log_prob(x)
        return joint - dist.Normal(pair.m * x, pair.log_s.exp()).log_prob(z)

    order = 1 - alpha
    pair_bound = (torch.logaddexp(order * log_w(e1), order * log_w(e2)) - math.log(2)) / order
    return gradients(-(w * pair_bound).sum(), pair)


def stl_gradient_by_quadrature(pair, x, alpha):
    """The same without the score terms: what sticking the landing estimates for two particles."""
    nodes, weights = torch.as_tensor(HERMITE[0]), torch.as_tensor(HERMITE[1])
    e1, e2 = torch.meshgrid(nodes, nodes, indexing="ij")
    w = weights[:, None] * weights[None, :]
    m, s = (pair.m * x).detach(), pair.log_s.exp().detach()

    def log_w(e):
        z = pair.m * x + pair.log_s.exp() * e
        joint = dist.Normal(0.0, 1.0).log_prob(z) + dist.Normal(pair.a * z, 1.0).log_prob(x)
        return joint - dist.Normal(m, s).log_prob(z)

    order = 1 - alpha
    pair_bound = (torch.logaddexp(order * log_w(e1), order * log_w(e2)) - math.log(2)) / order
    return gradients(-(w * pair_bound).sum(), pair)


def hermite():
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    return nodes, weights / weights.sum()


HERMITE = hermite()


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize(
    ("gradient", "oracle"),
    [
        ("reparam", bound_gradient_by_quadrature),
        ("dreg", bound_gradient_by_quadrature),
        ("stl", stl_gradient_by_quadrature),
    ],
)
def test_gradient_of_the_bound_is_exact_in_expectation(gradient, oracle, alpha):
    pair = LinearGaussian(slope=0.1, log_scale=0.2)
    x = torch.tensor(1.3)
    expected = oracle(pair, x, alpha)
    draws = []
    for seed in range(20):
        pyro.set_rng_seed(seed)
        batch = x.expand(20_000)
        loss = IWELBO(2, alpha=alpha, gradient=gradient).differentiable_loss(pair.model, pair.guide, batch)
        draws.append(gradients(loss, pair) / len(batch))
    draws = torch.stack(draws)
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - expected).abs() < 4.5 * error + 1e-12).all(), (draws.mean(0), expected, error)
    assert (error < 0.01).all()


def test_stl_is_biased_for_several_particles_and_has_no_variance_at_the_optimum():
    pair, x = LinearGaussian(slope=0.1, log_scale=0.2), torch.tensor(1.3)
    exact, stl = bound_gradient_by_quadrature(pair, x, 0.0), stl_gradient_by_quadrature(pair, x, 0.0)
    assert (exact[1:] - stl[1:]).abs().max() > 0.02
    assert torch.allclose(exact[0], stl[0])  # the model's parameters are not concerned
    best = LinearGaussian().exact()
    for gradient in ("stl", "dreg"):
        loss = IWELBO(5, gradient=gradient).differentiable_loss(best.model, best.guide, X)
        assert gradients(loss, best)[1:].abs().max() < 1e-12
    loss = IWELBO(5).differentiable_loss(best.model, best.guide, X)
    assert gradients(loss, best)[1:].abs().max() > 1e-3


class Hierarchy(PyroModule):
    """A guide whose second latent depends on the first, so that gradients pass through one into the other."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(0.7)), nn.Parameter(torch.tensor(0.4))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(0.0, 1.0))
            z1 = pyro.sample("z1", dist.Normal(z2, 1.0))
            pyro.sample("x", dist.Normal(z1, 1.0), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", dist.Normal(self.a * x, 0.7))
            pyro.sample("z2", dist.Normal(self.b * z1, 0.8))


@pytest.mark.slow
def test_doubly_reparametrised_gradient_through_a_hierarchy():
    pair = Hierarchy()
    estimates = {}
    for gradient in ("reparam", "dreg"):
        draws = []
        for seed in range(20):
            pyro.set_rng_seed(seed)
            batch = torch.tensor(1.3).expand(20_000)
            loss = IWELBO(3, gradient=gradient).differentiable_loss(pair.model, pair.guide, batch)
            draws.append(gradients(loss, pair) / len(batch))
        estimates[gradient] = torch.stack(draws)
    (mean1, mean2), (var1, var2) = zip(*((e.mean(0), e.var(0) / len(e)) for e in estimates.values()), strict=True)
    assert ((mean1 - mean2).abs() < 4.5 * (var1 + var2).sqrt()).all(), (mean1, mean2)
    assert ((var1 + var2).sqrt() < 0.01).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [ELBO(), ELBO(num_particles=2), IWELBO(3), IWELBO(3, gradient="dreg")],
    ids=["ELBO", "ELBO-2", "IWELBO", "IWELBO-dreg"],
)
def test_plain_svi_and_module_train_the_same_pair(objective):
    pair = LinearGaussian()
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 0.01}), loss=objective)
    losses = [svi.step(X) for _ in range(200)]
    assert sum(losses[-20:]) < sum(losses[:20])
    assert isinstance(losses[0], float)
    loss = objective(pair.model, pair.guide)(X)
    assert loss.shape == ()
    assert loss.requires_grad


def test_bad_arguments_are_named():
    for bad in ({"num_particles": 0}, {"num_particles": 2, "alpha": 1.0}, {"num_particles": 2, "gradient": "magic"}):
        with pytest.raises(ValueError, match=list(bad)[-1]):
            IWELBO(**bad)
    with pytest.raises(ValueError, match="num_particles must be at least 1, got 0"):
        ELBO(num_particles=0)


def test_own_parameters_leaves_the_store_alone():
    pair = LinearGaussian()
    with own_parameters(pair):
        ELBO().differentiable_loss(pair.model, pair.guide, X).backward()
    assert len(pyro.get_param_store()) == 0
    assert pair.m.grad is not None
