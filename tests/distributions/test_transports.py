"""Draws carry nothing but their numbers: whatever happens to them on the way, density and gradients stay."""

import importlib.util
import io
import pickle

import missing
import pyro.distributions as dist
import pytest
import torch
from distribution_cases import CASES, ELSEWHERE
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrodgm.distributions import Hierarchical, RecurrentSticks
from pyrodgm.nn.recurrent import StickBreakingRNN
from pyrodgm.posteriors import FlowPosterior


def saved(value):
    stored = io.BytesIO()
    torch.save(value, stored)
    stored.seek(0)
    return torch.load(stored)


TRANSPORTS = {
    "clone": torch.clone,
    "detach": torch.Tensor.detach,
    "view": lambda value: value.view_as(value),
    "index": lambda value: value[:],
    "gather": lambda value: value[torch.arange(len(value))],
    "round trip": lambda value: value.to(torch.float64).to(value.dtype),
    "save": saved,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "stack": lambda value: torch.stack([value, value])[1],
    "vmap": lambda value: torch.func.vmap(torch.clone)(value),
}


def density_and_gradients(case, dtype, value):
    params = {name: p.detach().clone().to(dtype).requires_grad_() for name, p in case.params.items()}
    log_prob = case.build(**params, validate_args=False).log_prob(value)
    return log_prob.detach(), torch.autograd.grad(log_prob.sum(), list(params.values()), allow_unused=True)


every_way = given(
    seed=st.integers(0, 2**31),
    steps=st.lists(st.sampled_from(sorted(TRANSPORTS)), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@every_way
@settings(max_examples=12, deadline=None, derandomize=True)
def test_any_way_of_a_draw(case, seed, steps, dtype):
    torch.manual_seed(seed)
    value = case.distribution(dtype).sample()
    expected = density_and_gradients(case, dtype, value)
    moved = value
    for step in steps:
        moved = TRANSPORTS[step](moved)
    assert torch.equal(moved, value)
    torch.testing.assert_close(density_and_gradients(case, dtype, moved), expected, rtol=0, atol=0)
    with torch.inference_mode():
        inside = case.distribution(dtype).log_prob(moved.clone())
    torch.testing.assert_close(inside, expected[0])


def hierarchical(dtype):
    loc, mix = (torch.randn(shape, dtype=dtype).requires_grad_() for shape in ((3, 2), (2, 3)))
    groups = Hierarchical(lambda earlier: dist.Normal(earlier[0] @ mix if earlier else loc, 0.5).to_event(1), [2, 3])
    return groups, [loc, mix]


def recurrent_sticks(dtype):
    network = StickBreakingRNN(2, 3, max_steps=3).to(dtype)
    return RecurrentSticks(network, torch.randn(3, 2, 2, dtype=dtype)), list(network.parameters())


def flow(dtype):
    if importlib.util.find_spec("zuko") is None:
        pytest.skip(missing.ZUKO)
    posterior = FlowPosterior.autoregressive(torch.nn.Linear(4, 6), 2, context=2, hidden=[4], passes=2).to(dtype)
    return posterior(torch.randn(3, 4, dtype=dtype)), list(posterior.parameters())


BY_FUNCTION = {"Hierarchical": hierarchical, "RecurrentSticks": recurrent_sticks, "FlowDistribution": flow}


def test_every_distribution_without_a_row_is_here():
    assert BY_FUNCTION.keys() | {"Implicit"} == ELSEWHERE.keys()  # which has no density


@pytest.mark.parametrize("name", BY_FUNCTION)
@every_way
@settings(max_examples=6, deadline=None, derandomize=True)
def test_any_way_where_parameters_are_functions(name, seed, steps, dtype):
    """The run of a draw is kept with it; a new run for what became of the draw gives the same to rounding."""
    torch.manual_seed(seed)
    d, parameters = BY_FUNCTION[name](dtype)

    def at(value):
        log_prob = d.log_prob(value)
        return log_prob.detach(), torch.autograd.grad(log_prob.sum(), parameters, retain_graph=True, allow_unused=True)

    value = d.sample()
    expected, moved = at(value), value
    for step in steps:
        moved = TRANSPORTS[step](moved)
    assert torch.equal(moved, value)
    d.sample((2,))
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if dtype == torch.float32 else {"rtol": 1e-8, "atol": 1e-8}
    torch.testing.assert_close(at(moved), expected, **tolerance)
    with torch.inference_mode():
        torch.testing.assert_close(d.log_prob(moved.clone()), expected[0], **tolerance)
