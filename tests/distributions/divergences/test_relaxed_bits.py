"""The divergence of bits and smoothed bits against enumeration and quadrature, gradients included."""

import itertools
import math

import pyro
import pytest
import torch
from numpy.polynomial.legendre import leggauss
from pyro.infer import RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import Bernoulli, kl_divergence

from pyrodgm.distributions import (
    BoltzmannMachine,
    ContinuedBernoulli,
    ExponentialSmoothing,
    GaussianIntegralBoltzmann,
    GaussianSmoothing,
    Hierarchical,
    OverlappingBernoulli,
    PowerSmoothing,
    RelaxedBoltzmann,
    SpikeBoltzmann,
    SpikeExponential,
    bits_divergence,
    divergence_given,
)
from pyrodgm.infer import ELBO, IWELBO


def parameters():
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in [(2, 2), (2,), (2,)]]
    return [p.requires_grad_() for p in made]


def states(count):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=count)), dtype=torch.float64)


def family(name):
    if name == "spike":
        return lambda logits: SpikeExponential(logits, 3.0).to_event(1)
    smoothing = {"exponential": ExponentialSmoothing, "power": PowerSmoothing}[name](3.0)
    return lambda logits: OverlappingBernoulli(logits, smoothing).to_event(1)


def prior(name, machine):
    if name == "spike":
        return SpikeBoltzmann(machine, 3.0)
    return RelaxedBoltzmann(machine, {"exponential": ExponentialSmoothing, "power": PowerSmoothing}[name](3.0))


FAMILIES = ["exponential", "power", "spike"]


@pytest.mark.parametrize("name", FAMILIES)
def test_one_group_is_exact(name):
    """The sum over all states of q(z) log q(z) / p(z), values and gradients."""
    machine_parameters = parameters()
    machine = BoltzmannMachine(*machine_parameters)
    logits = torch.randn(5, 4, requires_grad=True)
    z = states(4)
    log_q = Bernoulli(logits=logits).log_prob(z.unsqueeze(1)).sum(-1)
    exact = (log_q.exp() * (log_q - machine.log_prob(z).unsqueeze(1))).sum(0)
    q = Hierarchical(lambda earlier: family(name)(logits), [4])
    value = bits_divergence(q, prior(name, machine), q.rsample())
    torch.testing.assert_close(value, exact)
    inputs = [logits, *machine_parameters]
    weight = torch.rand(5)
    expected = torch.autograd.grad((exact * weight).sum(), inputs)
    got = torch.autograd.grad((value * weight).sum(), inputs)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


def second_logits(first, lift, shift):
    return first @ lift + shift


def quadrature(name, logits, lift, shift, machine, nodes=60):
    """E over zeta of the first two units, on a grid of quantiles of r(zeta | z), of the divergence of the bits."""
    u, w = (torch.as_tensor(a, dtype=torch.float64) for a in leggauss(nodes))
    u, w = 0.5 * (u + 1), 0.5 * w
    total = 0.0
    for z1 in states(2):
        log_first = Bernoulli(logits=logits).log_prob(z1).sum()
        if name == "spike":
            # the quantile of the exponential part; the spike has one point
            parts = [ExponentialSmoothing(3.0).icdf(u, 1) if z else torch.zeros_like(u) for z in z1]
        elif name == "power":
            # zeta = rho^3 is smooth in rho
            parts = [1 - (1 - u) ** 3.0 if z else u**3.0 for z in z1]
        else:
            parts = [ExponentialSmoothing(3.0).icdf(u, int(z)) for z in z1]
        zeta = torch.stack(torch.meshgrid(*parts, indexing="ij"), -1).reshape(-1, 2)
        weight = torch.outer(w, w).reshape(-1)
        second = second_logits(zeta, lift, shift)
        for z2 in states(2):
            log_second = Bernoulli(logits=second).log_prob(z2).sum(-1)
            log_p = machine.log_prob(torch.cat([z1, z2]))
            total = total + (weight * log_first.exp() * log_second.exp() * (log_first + log_second - log_p)).sum()
    return total


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_two_groups_are_unbiased(name):
    machine_parameters = parameters()
    machine = BoltzmannMachine(*machine_parameters)
    generator = torch.Generator().manual_seed(1)
    logits, lift, shift = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in [(2,), (2, 2), (2,)]
    )
    inputs = [logits, lift, shift, *machine_parameters]
    exact = quadrature(name, logits, 2 * lift, shift, machine)
    expected = [exact.detach(), *torch.autograd.grad(exact, inputs)]
    batch, groups = 20_000, 20

    def estimate():
        def conditional(earlier):
            own = second_logits(earlier[0], 2 * lift, shift) if earlier else logits.expand(batch, 2)
            return family(name)(own)

        q = Hierarchical(conditional, [2, 2])
        value = bits_divergence(q, prior(name, machine), q.rsample()).mean()
        return [value.detach(), *torch.autograd.grad(value, inputs)]

    got = [torch.stack(values) for values in zip(*(estimate() for _ in range(groups)), strict=True)]
    for values, wanted in zip(got, expected, strict=True):
        error = (values.mean(0) - wanted) / (values.std(0) / math.sqrt(groups) + 1e-9)
        assert error.abs().max() < 5


def test_sides_that_cut_through_a_group():
    """Three groups of two units, three units a side: enumeration over hard bits in place of smoothed ones."""
    generator = torch.Generator().manual_seed(2)
    weights, left, right = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in [(3, 3), (3,), (3,)]
    )
    machine = BoltzmannMachine(weights, left, right)
    lift = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    smoothing = ExponentialSmoothing(500.0)  # zeta is z to within 0.002

    def logits(earlier):
        known = torch.cat(earlier, -1) if earlier else torch.zeros(40_000, 0)
        width = known.shape[-1]
        return known @ lift[:width, width : width + 2] + 0.3

    q = Hierarchical(lambda earlier: OverlappingBernoulli(logits(earlier), smoothing).to_event(1), [2, 2, 2])
    with torch.no_grad():
        values = bits_divergence(q, RelaxedBoltzmann(machine, smoothing), q.rsample())
    z = states(6)
    log_q = sum(Bernoulli(logits=logits_of(z, lift, i)).log_prob(z[:, i : i + 2]).sum(-1) for i in (0, 2, 4))
    exact = (log_q.exp() * (log_q - machine.log_prob(z))).sum()
    assert abs(values.mean() - exact) < 5 * values.std() / 200 + 0.01


def logits_of(z, lift, start):
    return z[:, :start] @ lift[:start, start : start + 2] + 0.3


def test_registry_serves_the_spike_alone():
    machine = BoltzmannMachine(*parameters())
    logits = torch.randn(5, 4)
    spike = Hierarchical(lambda earlier: SpikeExponential(logits, 3.0).to_event(1), [4])
    value = kl_divergence(spike, SpikeBoltzmann(machine, 3.0))
    torch.testing.assert_close(value, bits_divergence(spike, SpikeBoltzmann(machine, 3.0), spike.rsample()))
    torch.testing.assert_close(value, kl_divergence(spike.first, SpikeBoltzmann(machine, 3.0)))
    # equal to the divergence of the smoothed bits, by their densities
    draws = spike.rsample((20_000,))
    sampled = spike.log_prob(draws) - SpikeBoltzmann(machine, 3.0).log_prob(draws)
    assert ((sampled.mean(0) - value).abs() < 5 * sampled.std(0) / math.sqrt(20_000)).all()


def test_what_has_no_divergence_of_the_bits_is_refused():
    weights, left_bias, right_bias = parameters()
    machine = BoltzmannMachine(weights, left_bias, right_bias)
    logits = torch.randn(5, 4)

    def groups(base, sizes=(4,)):
        return Hierarchical(lambda earlier: base.to_event(1), list(sizes))

    power = OverlappingBernoulli(logits, PowerSmoothing(2.0))
    with pytest.raises(NotImplementedError, match="no bits in Bernoulli"):
        bits_divergence(Bernoulli(logits=logits), SpikeBoltzmann(machine, 3.0), logits)
    for q, p in (
        (SpikeExponential(logits, 2.0), SpikeBoltzmann(machine, 3.0)),
        (power, SpikeBoltzmann(machine, 2.0)),
        (power, RelaxedBoltzmann(machine, PowerSmoothing(2.5))),
        (power, RelaxedBoltzmann(machine, ExponentialSmoothing(2.0))),
        (
            OverlappingBernoulli(logits, PowerSmoothing(torch.tensor(2.0))),
            RelaxedBoltzmann(machine, PowerSmoothing(2.0)),
        ),
        (ContinuedBernoulli(logits, 2.0), RelaxedBoltzmann(machine, PowerSmoothing(2.0))),
        (OverlappingBernoulli(logits, GaussianSmoothing(9.0)), GaussianIntegralBoltzmann(machine, 9.0)),
    ):
        with pytest.raises(NotImplementedError, match=r"no (bits in|divergence of the bits from)"):
            bits_divergence(groups(q), p, logits)
    with pytest.raises(NotImplementedError, match="no divergence of the bits from SpikeExponential"):
        kl_divergence(groups(SpikeExponential(logits, 2.0)), SpikeBoltzmann(machine, 3.0))
    batched = BoltzmannMachine(weights.expand(5, 2, 2), left_bias, right_bias)
    with pytest.raises(NotImplementedError, match=r"machines of batch shape \[5\]"):
        bits_divergence(groups(power), RelaxedBoltzmann(batched, PowerSmoothing(2.0)), logits)
    short = groups(OverlappingBernoulli(logits[:, :3], PowerSmoothing(2.0)), [3])
    with pytest.raises(ValueError, match=r"as many bits, got \[3\] and \[4\]"):
        bits_divergence(short, RelaxedBoltzmann(machine, PowerSmoothing(2.0)), logits)
    beta = torch.tensor(2.0, requires_grad=True)
    shared = groups(OverlappingBernoulli(logits, PowerSmoothing(beta)))
    assert bits_divergence(shared, RelaxedBoltzmann(machine, PowerSmoothing(beta)), logits.sigmoid()).shape == (5,)


@pytest.mark.parametrize("estimator", [TraceMeanField_ELBO(), ELBO()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("hierarchical", [False, True])
def test_gradients_of_the_spike_through_estimators_are_those_of_its_divergence(estimator, hierarchical):
    """By enumeration; estimators that sample the log-densities, whose gradient would be 0 on average, refuse."""
    machine = BoltzmannMachine(*(p.detach() for p in parameters()))
    logits, count, z = torch.randn(4, requires_grad=True), 200, states(4)
    log_q = Bernoulli(logits=logits).log_prob(z).sum(-1)
    expected = torch.autograd.grad((log_q.exp() * (log_q - machine.log_prob(z))).sum(), logits)[0]

    def model():
        pyro.param("unused", torch.tensor(1.0))  # without a parameter by name Pyro's estimators do not differentiate
        with pyro.plate("data", count):
            pyro.sample("z", SpikeBoltzmann(machine, 5.0))

    def guide():
        q = SpikeExponential(logits.expand(count, 4), 5.0).to_event(1)
        with pyro.plate("data", count):
            pyro.sample("z", Hierarchical(lambda earlier: q, [4]) if hierarchical else q)

    estimator.loss_and_grads(model, guide)
    torch.testing.assert_close(logits.grad / count, expected)
    for refusing in (Trace_ELBO(), RenyiELBO(num_particles=2), IWELBO(2), IWELBO(2, gradient="dreg")):
        with pytest.raises(RuntimeError, match="point of mass at 0 has no gradient"):
            refusing.loss_and_grads(model, guide)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exponential", "power"])
def test_it_is_never_less_than_the_divergence_of_what_is_seen(name):
    machine = BoltzmannMachine(*parameters())
    logits = torch.randn(6, 4)
    q = Hierarchical(lambda earlier: family(name)(logits), [4])
    smoothing = q.first.base_dist.smoothing
    zeta = q.rsample((40_000,))
    z = states(4)
    log_given = torch.where(z > 0, smoothing.log_prob(zeta, 1).unsqueeze(-2), smoothing.log_prob(zeta, 0).unsqueeze(-2))
    log_p = (log_given.sum(-1) + machine.log_prob(z)).logsumexp(-1)
    sampled = q.log_prob(zeta) - log_p
    seen, error = sampled.mean(0), sampled.std(0) / math.sqrt(40_000)
    value = bits_divergence(q, prior(name, machine), q.rsample())
    assert (value > seen - 5 * error).all()
    assert (value > seen + 5 * error).any()


@pytest.mark.parametrize("name", ["exponential", "spike"])
def test_it_is_that_of_the_value_given_and_not_of_the_last_draw(name):
    machine = BoltzmannMachine(*parameters())

    def conditional(earlier):
        return family(name)(2.0 * earlier[0] - 1.0 if earlier else torch.zeros(5, 2))

    q = Hierarchical(conditional, [2, 2])
    value = q.rsample()
    expected = bits_divergence(q, prior(name, machine), value)
    q.rsample()
    torch.testing.assert_close(divergence_given(q, prior(name, machine), value), expected) if name == "spike" else None
    torch.testing.assert_close(bits_divergence(q, prior(name, machine), value.clone()), expected)
