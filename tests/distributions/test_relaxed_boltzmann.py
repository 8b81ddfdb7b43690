"""Relaxed machines of several units against sums over all states, and the mean-field bound against the exact sum."""

import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceMeanField_ELBO

from pyrodgm import boltzmann
from pyrodgm.distributions import (
    BoltzmannMachine,
    ExponentialSmoothing,
    GaussianIntegralBoltzmann,
    GaussianSmoothing,
    PowerSmoothing,
    RelaxedBoltzmann,
    UniformExponentialSmoothing,
)
from pyrodgm.infer import ELBO, IWELBO

SMOOTHINGS = [
    ExponentialSmoothing(10.0),
    UniformExponentialSmoothing(16.0),
    PowerSmoothing(30.0),
    GaussianSmoothing(25.0),
]
each_smoothing = pytest.mark.parametrize("smoothing", SMOOTHINGS, ids=lambda s: type(s).__name__)
LEFT, RIGHT = 3, 4
STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=LEFT + RIGHT)), dtype=torch.float64)


def parameters(coupling=1.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = coupling * torch.randn(LEFT, RIGHT, generator=generator, dtype=torch.float64)
    left_bias = torch.randn(LEFT, generator=generator, dtype=torch.float64) - 0.5 * weights.sum(1)
    right_bias = torch.randn(RIGHT, generator=generator, dtype=torch.float64) - 0.5 * weights.sum(0)
    return [t.requires_grad_() for t in (weights, left_bias, right_bias)]


def log_mass(given):
    """log p(z) of every state, by autograd through the sum."""
    left, right = STATES[:, :LEFT], STATES[:, LEFT:]
    return (torch.einsum("ni,ij,nj->n", left, given[0], right) + left @ given[1] + right @ given[2]).log_softmax(0)


def relaxed_by_hand(given, smoothing, zeta):
    each = torch.where(
        STATES == 1, smoothing.log_prob(zeta, 1).unsqueeze(-2), smoothing.log_prob(zeta, 0).unsqueeze(-2)
    )
    return (log_mass(given) + each.sum(-1)).logsumexp(-1)


def integral_by_hand(given, beta, margin, zeta):
    coupling = torch.zeros(LEFT + RIGHT, LEFT + RIGHT).index_put(
        (torch.arange(LEFT)[:, None], LEFT + torch.arange(RIGHT)[None]), given[0]
    )
    coupling = coupling + coupling.mT
    least = torch.linalg.eigvalsh(coupling)[0]
    beta = torch.maximum(torch.tensor(beta), margin - least)
    normal = dist.MultivariateNormal(STATES, precision_matrix=coupling + beta * torch.eye(LEFT + RIGHT))
    return (log_mass(given) + normal.log_prob(zeta.unsqueeze(-2))).logsumexp(-1)


def assert_same_with_gradients(got, want, leaves):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    weight = torch.linspace(-1, 2, got.numel()).reshape(got.shape)
    for a, b in zip(*(torch.autograd.grad((weight * v).sum(), leaves) for v in (got, want)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


@each_smoothing
def test_exact_density_and_gradients(smoothing):
    given = parameters()
    prior = RelaxedBoltzmann(BoltzmannMachine(*given), smoothing)
    zeta = prior.sample((6,)).clamp(1e-3, 0.999).requires_grad_()
    assert_same_with_gradients(prior.log_prob(zeta), relaxed_by_hand(given, smoothing, zeta), [*given, zeta])


@pytest.mark.parametrize(("coupling", "beta"), [(1.5, 40.0), (1.5, 0.1), (6.0, 3.0)])
def test_gaussian_integral_density_and_gradients(coupling, beta):
    given = parameters(coupling)
    prior = GaussianIntegralBoltzmann(BoltzmannMachine(*given), beta, 5.0)
    zeta = prior.sample((6,)).requires_grad_()
    assert_same_with_gradients(prior.log_prob(zeta), integral_by_hand(given, beta, 5.0, zeta), [*given, zeta])
    assert prior.beta.item() == pytest.approx(max(beta, 5.0 + torch.linalg.matrix_norm(given[0], 2).item()))


def test_gaussian_integral_has_a_gradient_at_the_start_where_all_couplings_are_zero():
    given = [torch.zeros(s, requires_grad=True) for s in ((LEFT, RIGHT), (LEFT,), (RIGHT,))]
    zeta = torch.rand(5, LEFT + RIGHT)
    for beta in (40.0, 1.0):
        value = GaussianIntegralBoltzmann(BoltzmannMachine(*given), beta).log_prob(zeta).sum()
        assert all(torch.isfinite(g).all() for g in torch.autograd.grad(value, given))


def test_gaussian_integral_draws_have_the_moments_of_the_mixture():
    given = [t.detach() for t in parameters(3.0)]
    prior = GaussianIntegralBoltzmann(BoltzmannMachine(*given), 2.0, 1.0)
    draws = prior.sample((100_000,))
    p = log_mass(given).exp()
    mean = p @ STATES
    precision = prior.beta * torch.eye(LEFT + RIGHT)
    precision[:LEFT, LEFT:], precision[LEFT:, :LEFT] = given[0], given[0].mT
    covariance = (STATES - mean).mT @ (p[:, None] * (STATES - mean)) + torch.linalg.inv(precision)
    assert (draws.mean(0) - mean).abs().max() < 5 * (covariance.diagonal().max() / 1e5).sqrt()
    assert (draws.mT.cov() - covariance).abs().max() < 5 * math.sqrt(2e-5) * covariance.diagonal().max()
    torch.testing.assert_close(prior.mean, mean)
    torch.testing.assert_close(prior.variance, covariance.diagonal())


@each_smoothing
@pytest.mark.parametrize("iterations", [1, 5, 30])
def test_mean_field_bound_never_exceeds_the_exact_value(smoothing, iterations):
    for coupling in (0.1, 1.0, 4.0):
        for seed in range(5):
            machine = BoltzmannMachine(*(t.detach() for t in parameters(coupling, seed)))
            exact, bound = RelaxedBoltzmann(machine, smoothing), RelaxedBoltzmann(machine, smoothing, iterations)
            zeta = torch.cat([exact.sample((30,)), torch.rand(30, LEFT + RIGHT)])
            gap = exact.log_prob(zeta) - bound.log_prob(zeta)
            assert gap.min() > -1e-10
            if coupling == 0.1:
                assert gap.max() < 0.05


def test_gradient_of_the_bound_is_that_of_the_energy_at_the_mean_field():
    given, smoothing = parameters(2.0), GaussianSmoothing(5.0)
    zeta = torch.rand(4, LEFT + RIGHT, requires_grad=True)
    prior = RelaxedBoltzmann(BoltzmannMachine(*given), smoothing, 2)
    with torch.no_grad():
        shift = smoothing.log_ratio(zeta)
        left = torch.full((4, LEFT), 0.5)
        for _ in range(2):
            right = (left @ given[0] + given[2] + shift[:, LEFT:]).sigmoid()
            left = (right @ given[0].mT + given[1] + shift[:, :LEFT]).sigmoid()
    m = torch.cat([left, right], 1)
    energy = (torch.einsum("ni,ij,nj->n", left, given[0], right) + left @ given[1] + right @ given[2]).sum()
    energy = energy + (m * smoothing.log_prob(zeta, 1) + (1 - m) * smoothing.log_prob(zeta, 0)).sum()
    want = torch.autograd.grad(energy - 4 * boltzmann.exact_log_partition(*given), [*given, zeta])
    got = torch.autograd.grad(prior.log_prob(zeta).sum(), [*given, zeta])
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


class ByHand(dist.TorchDistribution):
    """The same density with nothing but autograd through sums over all states."""

    arg_constraints = {}  # noqa: RUF012
    support = dist.constraints.real_vector

    def __init__(self, density, batch_shape=()):
        self.density = density
        super().__init__(torch.Size(batch_shape), torch.Size([LEFT + RIGHT]))

    def expand(self, batch_shape, _instance=None):
        return ByHand(self.density, batch_shape)

    def log_prob(self, value):
        return self.density(value)


def gradients(objective, prior, leaves):
    pyro.set_rng_seed(3)
    shift = leaves[-1]

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior)
            scale = pyro.param("scale", torch.tensor(1.0))  # Pyro's estimators differentiate only where there is one
            pyro.sample("x", dist.Normal(z.sum(-1), scale), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(shift, 0.4).expand([len(x), LEFT + RIGHT]).to_event(1))

    for leaf in leaves:
        leaf.grad = None
    objective.loss_and_grads(model, guide, torch.linspace(0, 4, 6))
    return [leaf.grad.clone() for leaf in leaves]


@pytest.mark.parametrize(
    "objective",
    [
        Trace_ELBO(),
        TraceMeanField_ELBO(num_particles=2),
        RenyiELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1),
        ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1),
        IWELBO(3, max_plate_nesting=1),
        IWELBO(3, gradient="stl", max_plate_nesting=1),
        IWELBO(3, gradient="dreg", max_plate_nesting=1),
    ],
    ids=lambda o: f"{type(o).__module__.split('.')[0]}-{type(o).__name__}-{getattr(o, 'gradient', '')}",
)
@pytest.mark.parametrize("kind", ["smoothing", "integral"])
@pytest.mark.parametrize("source", ["exact", "moments"])
def test_every_estimator_has_the_gradient_of_the_full_sum(objective, kind, source):
    given, shift = parameters(), torch.tensor(0.4, requires_grad=True)
    kwargs = {}
    if source == "moments":
        log_partition = boltzmann.exact_log_partition(*given).detach()
        kwargs = {"log_partition": log_partition, "moments": boltzmann.exact_moments(*given)}
    machine = BoltzmannMachine(*given, **kwargs)
    if kind == "smoothing":
        smoothing = GaussianSmoothing(8.0)
        prior, plain = RelaxedBoltzmann(machine, smoothing), lambda z: relaxed_by_hand(given, smoothing, z)
    else:
        prior, plain = GaussianIntegralBoltzmann(machine, 3.0), lambda z: integral_by_hand(given, 3.0, 5.0, z)
    leaves = [*given, shift]
    for got, want in zip(gradients(objective, prior, leaves), gradients(objective, ByHand(plain), leaves), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-9)


def test_large_machines_take_the_bound_and_say_so():
    with torch.no_grad():
        given = torch.zeros(30, 40), torch.zeros(30), torch.linspace(-1, 1, 40)
        log_partition = 30 * math.log(2.0) + torch.log1p(given[2].exp()).sum()
    machine = BoltzmannMachine(*given, log_partition=log_partition)
    with pytest.raises(
        ValueError, match="num_iterations must be a number for a machine that is too large for exact sums"
    ):
        RelaxedBoltzmann(machine, GaussianSmoothing(8.0))
    with pytest.raises(ValueError, match="num_iterations must be at least 1, got 0"):
        RelaxedBoltzmann(machine, GaussianSmoothing(8.0), 0)
    prior = RelaxedBoltzmann(machine, GaussianSmoothing(8.0), 5)
    zeta = torch.rand(3, 70)
    units = torch.cat(given[1:])
    low, high = (dist.Normal(float(z), 8**-0.5).log_prob(zeta) for z in (0, 1))
    alone = torch.logaddexp(low + torch.nn.functional.logsigmoid(-units), high + torch.nn.functional.logsigmoid(units))
    torch.testing.assert_close(prior.log_prob(zeta), alone.sum(-1))  # without couplings the bound is exact
    for name, wrong in (("beta", (0.0, 5.0)), ("margin", (1.0, -1.0))):
        with pytest.raises(ValueError, match=f"{name} must be finite and greater than 0"):
            GaussianIntegralBoltzmann(machine, *wrong)
