"""The machine's estimates, draws and gradients in Pyro's estimators; its density is a row of the generic test."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO
from torch.distributions import kl_divergence

from pyrodgm import boltzmann
from pyrodgm.distributions import BoltzmannMachine
from pyrodgm.infer import ELBO, IWELBO


def parameters(left, right, coupling=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = coupling * torch.randn(left, right, generator=generator)
    left_bias = torch.randn(left, generator=generator) - 0.5 * weights.sum(1)
    right_bias = torch.randn(right, generator=generator) - 0.5 * weights.sum(0)
    return [t.requires_grad_() for t in (weights, left_bias, right_bias)]


def plain_log_prob(given, z):
    """With nothing but autograd through the sum over all states."""
    n = given[0].shape[0] + given[0].shape[1]
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * n)

    def negative_energy(z):
        left, right = z[..., : len(given[1])], z[..., len(given[1]) :]
        return torch.einsum("...i,ij,...j->...", left, given[0], right) + left @ given[1] + right @ given[2]

    return negative_energy(z) - negative_energy(states).logsumexp(0)


def model_and_guide(log_prob_of):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", log_prob_of)
            scale = pyro.param("scale", torch.tensor(1.0))  # Pyro's estimators differentiate only where there is one
            pyro.sample("x", dist.Normal(z.sum(-1), scale), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            probs = torch.tensor([0.1, 0.3, 0.6, 0.8, 0.5])
            pyro.sample("z", dist.Bernoulli(probs).expand([len(x), 5]).to_event(1))

    return model, guide


class Plain(dist.TorchDistribution):
    """The machine by autograd through the sum over all states."""

    support = BoltzmannMachine.support
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, given, batch_shape=()):
        self.given = given
        super().__init__(torch.Size(batch_shape), torch.Size([5]))

    def expand(self, batch_shape, _instance=None):
        return Plain(self.given, batch_shape)

    def log_prob(self, value):
        return plain_log_prob(self.given, value)


@pytest.mark.parametrize(
    "objective",
    [
        Trace_ELBO(),
        Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1),
        RenyiELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1),
    ],
    ids=lambda o: f"{type(o).__name__}-{o.num_particles}",
)
@pytest.mark.parametrize("source", ["exact", "moments"])
def test_gradient_in_pyros_estimators_is_that_of_the_full_sum(objective, source):
    given = parameters(2, 3)
    kwargs = {}
    if source == "moments":
        kwargs = {
            "log_partition": boltzmann.exact_log_partition(*given).detach(),
            "moments": boltzmann.exact_moments(*given),
        }
    x, gradients = torch.randn(6), []
    for prior in (BoltzmannMachine(*given, **kwargs), Plain(given)):
        pyro.set_rng_seed(3)
        model, guide = model_and_guide(prior)
        for t in given:
            t.grad = None
        objective.loss_and_grads(model, guide, x)
        gradients.append([t.grad for t in given])
    for got, want in zip(*gradients, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
        assert want.abs().max() > 0.01


@pytest.mark.parametrize("objective", [ELBO(), IWELBO(3), IWELBO(3, gradient="dreg")], ids=lambda o: type(o).__name__)
def test_our_estimators_need_a_reparametrised_guide_and_say_so(objective):
    model, guide = model_and_guide(BoltzmannMachine(*parameters(2, 3)))
    with pytest.raises(ValueError, match="site 'z' is Bernoulli, which has no rsample"):
        objective.differentiable_loss(model, guide, torch.randn(6))


def test_divergence_of_independent_units():
    given = parameters(3, 2, 2.0)
    logits = torch.randn(7, 5, requires_grad=True)
    q = dist.Bernoulli(logits=logits).to_event(1)
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 5)
    log_q = q.log_prob(states.unsqueeze(1))
    expected = (log_q.exp() * (log_q - plain_log_prob(given, states).unsqueeze(1))).sum(0)
    got = kl_divergence(q, BoltzmannMachine(*given))
    torch.testing.assert_close(got, expected)
    for a, b in zip(*(torch.autograd.grad(k.sum(), [*given, logits]) for k in (got, expected)), strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match="as many units in p as in q, 5, got 4"):
        kl_divergence(dist.Bernoulli(logits=torch.zeros(4)).to_event(1), BoltzmannMachine(*given))
    with pytest.raises(NotImplementedError):
        kl_divergence(dist.Normal(torch.zeros(5), 1.0).to_event(1), BoltzmannMachine(*given))


@pytest.mark.slow
def test_chains_give_draws_and_gradient_of_a_large_machine():
    """30 + 40 units in two halves without couplings between them: the sum of two small machines is exact."""
    with torch.no_grad():
        a, b = parameters(15, 20, 0.6), parameters(15, 20, 0.6, seed=1)
        weights = torch.block_diag(a[0], b[0])
        left_bias, right_bias = torch.cat([a[1], b[1]]), torch.cat([a[2], b[2]])
        exact = [
            torch.cat([m.mean[part] for m in (BoltzmannMachine(*a), BoltzmannMachine(*b))])
            for part in (slice(15), slice(15, None))
        ]
        log_partition = BoltzmannMachine(*a).log_partition + BoltzmannMachine(*b).log_partition
        left, right = boltzmann.random_states(weights, 4000)
        moments = boltzmann.advance_chains(weights, left_bias, right_bias, left, right, 100)
    given = [t.clone().requires_grad_() for t in (weights, left_bias, right_bias)]
    machine = BoltzmannMachine(*given, log_partition=log_partition, moments=moments, chains=(left, right))
    z = machine.sample((4000,))
    for got, want in zip(machine.split(z), exact, strict=True):
        assert (got.mean(0) - want).abs().max() < 0.06
    gradient = torch.autograd.grad(machine.log_prob(torch.zeros(70)), given)
    for got, want in zip(gradient[1:], exact, strict=True):
        assert (got + want).abs().max() < 0.04
    annealed = BoltzmannMachine(weights, left_bias, right_bias, log_partition=log_partition).sample((4000,))
    for got, want in zip(machine.split(annealed), exact, strict=True):
        assert (got.mean(0) - want).abs().max() < 0.08
    assert machine.expand([3]).sample((2,)).shape == (2, 3, 70)


def test_the_value_is_the_one_given_however_large_the_moments():
    given = [t.float().detach().requires_grad_() for t in parameters(30, 30, 30.0)]
    moments = boltzmann.Moments(torch.ones(30, 30), torch.ones(30), torch.ones(30))
    machine = BoltzmannMachine(*given, log_partition=torch.tensor(1234.567), moments=moments)
    assert machine.log_partition.item() == torch.tensor(1234.567, dtype=torch.float32).item()


def test_what_is_missing_is_named():
    large = [torch.zeros(23, 30, requires_grad=True), torch.zeros(23), torch.zeros(30)]
    unknown = BoltzmannMachine(*large)
    assert unknown.sample((3,)).shape == (3, 53)  # which needs no log Z
    with pytest.raises(ValueError, match=r"log_partition must be given .* got BipartiteMachine\(23 \+ 30 units\)"):
        unknown.log_prob(torch.zeros(53))
    machine = BoltzmannMachine(*large, log_partition=torch.tensor(1.0))
    with torch.no_grad():
        assert machine.log_prob(torch.zeros(53)).item() == -1.0
    with pytest.raises(ValueError, match="moments must be given for the gradient"):
        machine.log_prob(torch.zeros(53))
    with pytest.raises(NotImplementedError, match="needs moments"):
        _ = machine.mean
    with pytest.raises(ValueError, match=r"chains need a machine without batch dimensions, got \[2\]"):
        BoltzmannMachine(
            *(t.expand(2, *t.shape) for t in parameters(2, 3)), chains=(torch.ones(4, 2), torch.ones(4, 3))
        )
    with pytest.raises(ValueError, match="left_bias must have"):
        BoltzmannMachine(torch.zeros(2, 3), torch.zeros(3), torch.zeros(3))


def test_sums_follow_parameters_that_change_in_place():
    parameters = [torch.zeros(3, 4), torch.zeros(3), torch.zeros(4)]
    machine = BoltzmannMachine(*parameters)
    value = torch.ones(7)
    before = machine.log_prob(value), machine.mean
    with torch.no_grad():
        for t in parameters:
            t.copy_(torch.randn_like(t))
    assert torch.equal(machine.log_prob(value), BoltzmannMachine(*parameters).log_prob(value))
    assert torch.equal(machine.mean, BoltzmannMachine(*parameters).mean)
    assert not torch.equal(machine.log_prob(value), before[0])


def test_draws_of_small_machines_are_exact_whatever_the_chains():
    """Two modes of equal weight; the chains know of one."""
    weights, bias = torch.full((10, 10), 2.0), torch.full((10,), -10.0)
    machine = BoltzmannMachine(weights, bias, bias, chains=(torch.zeros(100, 10), torch.zeros(100, 10)))
    assert machine.sample((4000,)).mean().item() == pytest.approx(0.5, abs=0.04)


def test_log_partition_may_be_a_number():
    machine = BoltzmannMachine(torch.zeros(30, 30), torch.zeros(30), torch.zeros(30), log_partition=60 * math.log(2.0))
    assert machine.log_prob(torch.ones(60)).item() == pytest.approx(-60 * math.log(2.0))
