"""Draws carry nothing but their numbers: whatever happens to them on the way, density and gradients stay."""

import io
import pickle

import pytest
import torch
from distribution_cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st


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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@given(
    seed=st.integers(0, 2**31),
    steps=st.lists(st.sampled_from(sorted(TRANSPORTS)), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
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
