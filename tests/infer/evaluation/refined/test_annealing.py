"""Hamiltonian transitions of annealing."""

import pytest
import torch

from pyrodgm.infer.evaluation.refined.annealing import _transition


@pytest.mark.parametrize("size", [1, 3, 40])
def test_transitions_forget_where_they_were_and_are_mostly_accepted(size):
    """Of a standard Gaussian, of which trajectories of half a period would come back to minus where they began."""

    def evaluate(v):
        value = -0.5 * v.square().sum(-1)
        return value, -v, value, -v

    torch.manual_seed(size)
    v = torch.randn(500, 8, size)
    total, moved = 0.0, 0.0
    for _ in range(10):  # the step size is drawn for all chains at once
        after, _ = _transition(v, evaluate(v), 0.5, evaluate)
        total += float((v * after).mean() / v.square().mean()) / 10
        moved += float((after != v).any(-1).double().mean()) / 10
    assert -0.2 < total < 0.4
    assert moved > 0.6
    assert abs(float(after.square().mean()) - 1.0) < 0.1
