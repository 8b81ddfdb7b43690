"""Categorical latents: one-hot vectors, their two relaxations, and machines of Potts units as their priors."""

import pytest
import torch
from torch.distributions import kl_divergence

from pyrodgm.boltzmann import BipartiteMachine, Bits, Gaussian, Graph, GraphMachine, Potts
from pyrodgm.distributions import (
    BoltzmannMachine,
    ContinuedBoltzmann,
    ContinuedCategorical,
    ExponentialSmoothing,
    FactorizedCategorical,
    GaussianIntegralBoltzmann,
    GaussianSmoothing,
    OverlappingCategorical,
    PowerSmoothing,
    RelaxedBoltzmann,
    SpikeBoltzmann,
    VisibleBoltzmann,
)

EYE = torch.eye(3, dtype=torch.float64)
STATES = torch.cat([EYE.repeat_interleave(9, 0), EYE.repeat_interleave(3, 0).repeat(3, 1), EYE.repeat(9, 1)], -1)


def machine():
    torch.manual_seed(0)
    return GraphMachine(Graph(3, [(0, 1), (2, 1)]), torch.randn(2, 3, 3), torch.randn(9), Potts(3))


@pytest.mark.parametrize("smoothing", [ExponentialSmoothing(6.0), GaussianSmoothing(5.0), PowerSmoothing(4.0)], ids=str)
def test_draws_of_three_states_have_the_gradient_of_their_expectation(smoothing):
    torch.manual_seed(1)
    logits = torch.tensor([0.5, -1.0, 0.2, 1.5, 0.0, 0.3], requires_grad=True)
    (m0, s0), (m1, s1) = (smoothing.moments(logits.detach(), z) for z in (0, 1))
    means, squares = m0 + (m1 - m0) * EYE, s0 + (s1 - s0) * EYE  # of each column, in a row for each state

    def function(zeta):
        a, b, c = zeta.unflatten(-1, (2, 3)).unbind(-1)
        return (a * b + 2.0 * b * c - a * c + c.square()).sum(-1)

    each = means[:, 0] * means[:, 1] + 2.0 * means[:, 1] * means[:, 2] - means[:, 0] * means[:, 2] + squares[:, 2]
    expected = (logits.unflatten(-1, (2, 3)).softmax(-1) * each).sum()
    (slope,) = torch.autograd.grad(expected, logits)
    found, slopes = [], []
    for _ in range(20):
        draws = OverlappingCategorical(logits.expand(2000, 6), 3, smoothing).rsample()
        value = function(draws).mean()
        found.append(value.detach())
        slopes.append(torch.autograd.grad(value, logits)[0])
    for values, exact in ((torch.stack(found), expected), (torch.stack(slopes), slope)):
        error = (values.mean(0) - exact) / (values.std(0) / 20**0.5)
        assert error.abs().max() < 5.0


def test_relaxed_machines_of_states_are_sums_over_them():
    energy = machine()
    bits, smoothing = BoltzmannMachine(energy), ExponentialSmoothing(5.0)
    prior = RelaxedBoltzmann(bits, smoothing)
    zeta = prior.sample((50,))
    each = torch.where(STATES == 1.0, smoothing.log_prob(zeta, 1)[:, None], smoothing.log_prob(zeta, 0)[:, None])
    torch.testing.assert_close(prior.log_prob(zeta), (bits.log_prob(STATES) + each.sum(-1)).logsumexp(-1))
    bound = RelaxedBoltzmann(bits, smoothing, num_iterations=8).log_prob(zeta)
    gap = prior.log_prob(zeta) - bound
    assert (gap > -1e-12).all()
    assert gap.mean() < 0.3
    draws = prior.sample((20_000,))
    assert (draws.mean(0) - prior.mean).abs().max() < 0.02
    hidden = VisibleBoltzmann(bits, 6)
    visible = STATES[::3, :6]
    torch.testing.assert_close(hidden.log_prob(visible), bits.log_prob(STATES).unflatten(0, (9, 3)).logsumexp(-1))
    relaxed = RelaxedBoltzmann(hidden, smoothing)
    total = (hidden.log_prob(visible) + each[:, ::3, :6].sum(-1)).logsumexp(-1)
    torch.testing.assert_close(relaxed.log_prob(zeta[:, :6]), total)


def test_posteriors_of_states_fit_the_machine():
    bits = BoltzmannMachine(machine())
    torch.manual_seed(2)
    q = FactorizedCategorical(torch.randn(4, 9), 3)
    log_q = q.log_prob(STATES.unsqueeze(1))
    expected = (log_q.exp() * (log_q - bits.log_prob(STATES).unsqueeze(1))).sum(0)
    torch.testing.assert_close(kl_divergence(q, bits), expected)
    continued = ContinuedBoltzmann(bits)
    torch.testing.assert_close(continued.log_prob(STATES), bits.log_prob(STATES))
    relaxed = ContinuedCategorical(q.logits, 3, 5.0)
    torch.testing.assert_close(relaxed.log_prob(STATES.unsqueeze(1)), log_q)
    draws = relaxed.sample((20_000,))
    assert continued.support.check(draws).all()
    largest = draws.unflatten(-1, (3, 3)).argmax(-1)
    share = torch.nn.functional.one_hot(largest, 3).double().mean(0).flatten(-2)
    assert (share - q.probs).abs().max() < 0.02
    smoothed = OverlappingCategorical(q.logits, 3, PowerSmoothing(20.0))
    value = smoothed.sample()
    torch.testing.assert_close(smoothed.posterior_logits(value) - q.logits, smoothed.smoothing.log_ratio(value))


def test_what_has_bits_only_refuses_states_and_real_units():
    states = BoltzmannMachine(machine())
    weights = torch.zeros(2, 3), torch.zeros(2), torch.zeros(3)
    real = BoltzmannMachine(BipartiteMachine(*weights, (Gaussian(), Bits())))
    for make, message in [
        (lambda: SpikeBoltzmann(states, 3.0), r"machine must have units in \{0, 1\}, got Potts\(3\)"),
        (lambda: GaussianIntegralBoltzmann(states, 3.0), r"machine must have units in \{0, 1\}, got Potts\(3\)"),
        (lambda: RelaxedBoltzmann(real, PowerSmoothing(3.0)), "machine must have discrete units to be relaxed"),
        (lambda: ContinuedBoltzmann(real), "machine must have discrete units to be relaxed"),
        (lambda: VisibleBoltzmann(states, 4), r"num_visible must have a multiple of 3 columns for Potts\(3\), got 4"),
        (lambda: FactorizedCategorical(torch.zeros(4), 3), "logits must have a multiple of 3 columns"),
        (
            lambda: OverlappingCategorical(torch.zeros(6), 3, PowerSmoothing(torch.full((2,), 3.0))),
            "smoothing must have parameters without dimensions",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(NotImplementedError):
        kl_divergence(FactorizedCategorical(torch.zeros(10), 2), states)
    with pytest.raises(NotImplementedError, match="variance of Gaussian units"):
        _ = real.variance
