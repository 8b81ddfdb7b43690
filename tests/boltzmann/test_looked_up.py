"""Look-ups in place of products: the same fields, and the machine's own distribution after sweeps."""

from functools import partial

import pytest
import torch
from boltzmann_machines import random_machine
from torch.fx.experimental.proxy_tensor import make_fx

from pyrodgm.boltzmann import (
    BipartiteMachine,
    Bits,
    Gaussian,
    Potts,
    annealed_importance_sampling,
    exact_log_partition,
    exact_moments,
    gibbs_sweeps,
)
from pyrodgm.boltzmann.looked_up import field_of_states

CHAINS = 6000  # as many as it takes for look-ups
MACHINE = random_machine(12, 33, 0.7, dtype=torch.float32)
EXACT = exact_moments(*(t.double() for t in MACHINE))


def looks_up(*arguments):
    return not isinstance(field_of_states(*arguments), partial)


@pytest.mark.parametrize("rows", [1, 4, 5, 6, 33])
def test_fields_are_those_of_products(rows):
    weights, bias = torch.randn(rows, 70, dtype=torch.float32), torch.randn(70, dtype=torch.float32)
    states = torch.randint(2, (30_000, rows)).float()
    field = field_of_states(weights, bias, Bits(), states, 1)
    assert looks_up(weights, bias, Bits(), states, 1)
    expected = states.double() @ weights.double() + bias.double()
    torch.testing.assert_close(field(states).double(), expected, rtol=0, atol=2e-6 * rows)
    graph = make_fx(lambda x: field_of_states(weights, bias, Bits(), x, 1)(x))(states)
    assert torch.equal(graph(states), field(states))


def test_products_stay_where_look_ups_do_not_serve():
    weights, bias, states = MACHINE[0], MACHINE[2], torch.zeros(CHAINS, 12, dtype=torch.float32)
    assert looks_up(weights, bias, Potts(3), states, 1)
    for others in (
        (weights, bias, Gaussian(), states, 1),
        (weights.double(), bias.double(), Bits(), states, 1),
        (weights.expand(2, -1, -1), bias, Bits(), states, 1),
        (weights, bias, Bits(), states.expand(2, -1, -1), 1),
        (weights, bias, Bits(), states[:10], 1),
        (weights, bias, Bits(), states.double(), 1),
        (weights, bias, Bits(), states, 0),
    ):
        assert not looks_up(*others)


def test_several_machines_at_once_take_products():
    weights = torch.randn(60, 70, dtype=torch.float32)
    bias, states = torch.randn(2, 70, dtype=torch.float32), torch.randint(2, (3000, 60)).float()
    assert looks_up(weights, bias[0], Bits(), states, 1)
    found = torch.vmap(lambda own: field_of_states(weights, own, Bits(), states, 1)(states))(bias)
    torch.testing.assert_close(found, (states @ weights).add(bias.unsqueeze(1)), rtol=0, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["sweeps", "machine"])
def test_sweeps_keep_the_distribution(way):
    torch.manual_seed(0)
    machine = BipartiteMachine(*MACHINE)
    start = BipartiteMachine(*(t.double() for t in MACHINE)).exact_samples(CHAINS).float()
    if way == "sweeps":
        left, right = gibbs_sweeps(*MACHINE, start[:, :12], 4)
    else:
        left, right = machine.split(machine.sweep(start, 4).states)
    for got, want in ((left, EXACT.left), (right, EXACT.right)):
        assert (got.double().mean(0) - want).abs().max() < 4.5 * 0.5 / CHAINS**0.5
    assert ((left.mT.double() @ right.double()) / CHAINS - EXACT.weights).abs().max() < 4.5 * 0.5 / CHAINS**0.5


@pytest.mark.slow
def test_given_states_may_have_any_values():
    """The first product is one: means of units in place of states are no numbers of sums."""
    torch.manual_seed(0)
    means = torch.full((CHAINS, 12), 0.5, dtype=torch.float32)
    expected = (0.5 * MACHINE[0].sum(0) + MACHINE[2]).sigmoid().double()
    machine = BipartiteMachine(*MACHINE)
    swept = machine.sweep(torch.cat([means, means.new_zeros(CHAINS, 33)], -1)).states
    for right in (gibbs_sweeps(*MACHINE, means)[1], machine.split(swept)[1]):
        assert (right.double().mean(0) - expected).abs().max() < 4.5 * 0.5 / CHAINS**0.5


@pytest.mark.slow
def test_annealed_importance_sampling_by_look_ups_covers_the_exact_value():
    torch.manual_seed(0)
    exact = exact_log_partition(*(t.double() for t in MACHINE))
    estimate = annealed_importance_sampling(*MACHINE, 60, CHAINS)
    assert (estimate.value - exact).abs() < 4.5 * estimate.standard_error
    assert estimate.standard_error < 0.02
