"""Continued log-probabilities against the bits' own, draws against those of torch's Concrete distribution."""

import itertools
import math

import pytest
import torch
from torch.distributions import Bernoulli, RelaxedBernoulli

from pyrodgm.distributions import BoltzmannMachine, ContinuedBernoulli, ContinuedBoltzmann


def machine():
    torch.manual_seed(0)
    return BoltzmannMachine(2 * torch.randn(2, 2), torch.randn(2), torch.randn(2))


def test_log_probabilities_are_those_of_the_bits_and_linear_between():
    logits = torch.tensor([-3.0, 0.5, 20.0])
    q = ContinuedBernoulli(logits, 8.0)
    for z in (torch.zeros(3), torch.ones(3)):
        torch.testing.assert_close(q.log_prob(z), Bernoulli(logits=logits).log_prob(z))
    ends = q.log_prob(torch.zeros(3)), q.log_prob(torch.ones(3))
    torch.testing.assert_close(q.log_prob(torch.full((3,), 0.3)), 0.7 * ends[0] + 0.3 * ends[1])


def test_draws_are_concrete():
    logits, beta, n = torch.tensor([-2.0, 0.3]), torch.tensor([3.0, 0.7]), 20_000
    ours = ContinuedBernoulli(logits, beta).sample((n,)).sort(0).values
    theirs = RelaxedBernoulli(1.0 / beta, logits=logits).sample((n,)).sort(0).values
    for i in range(2):
        below = torch.searchsorted(ours[:, i].contiguous(), theirs[:, i].contiguous()) / n
        distance = (below - torch.arange(n) / n).abs().max()
        assert distance < math.sqrt(-math.log(5e-7) / n)


def test_draws_have_the_gradient_of_their_formula():
    logits, beta = torch.tensor(0.4, requires_grad=True), torch.tensor(5.0, requires_grad=True)
    value = ContinuedBernoulli(logits, beta).rsample()
    got = torch.autograd.grad(value, (logits, beta))
    slope = value * (1 - value)
    expected = slope * 5.0, slope * (torch.logit(value) / 5.0)
    torch.testing.assert_close(torch.stack(got), torch.stack(expected).detach())


def test_machine_is_continued_and_integrates_to_less_than_one():
    p = ContinuedBoltzmann(machine())
    z = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
    torch.testing.assert_close(p.log_prob(z), machine().log_prob(z))
    assert p.log_prob(z).exp().sum().item() == pytest.approx(1.0)
    middle = (torch.arange(20) + 0.5) / 20
    points = torch.cartesian_prod(*[middle] * 4)
    assert p.log_prob(points).exp().mean() < 1.0
    # multilinear: the value at a point is the mean over bits drawn with its coordinates as probabilities
    point = torch.tensor([0.2, 0.9, 0.5, 0.1])
    weight = Bernoulli(point).log_prob(z).sum(-1).exp()
    torch.testing.assert_close(p.log_prob(point), (weight * p.log_prob(z)).sum())
    assert p.expand((3,)).sample((2,)).shape == (2, 3, 4)
    assert p.expand((3,)).log_prob(point).shape == (3,)
