"""Pareto shapes of weights, where there are any."""

import math

import pytest
import torch

from pyrodgm.infer.evaluation.diagnostics import is_flagged, pareto_smooth, summarise


def k_hat(log_weights):
    return pareto_smooth(log_weights.unsqueeze(-1))[1].item()


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9, 1.5])
def test_shape_of_pareto_weights_is_found(shape):
    uniform = torch.rand(50_000, generator=torch.Generator().manual_seed(0))
    assert k_hat(-shape * uniform.log()) == pytest.approx(shape, abs=0.15)


@pytest.mark.parametrize("spread", [500.0, 5e4])
def test_weights_that_underflow_beside_the_largest_are_the_worst(spread):
    log_weights = spread * torch.randn(5000, generator=torch.Generator().manual_seed(1))
    assert k_hat(log_weights) == math.inf


def test_many_weights_tied_at_the_edge_of_the_tail_are_the_worst():
    log_weights = torch.full((1000,), -376.0)
    log_weights[:3] = torch.tensor([-290.0, -300.0, -310.0])
    assert k_hat(log_weights) == math.inf
    log_weights = -400.0 - torch.rand(1000, generator=torch.Generator().manual_seed(0))
    log_weights[:94] = -376.0
    assert k_hat(log_weights) == math.inf


@pytest.mark.parametrize("count", [1, 2, 5, 21, 22, 23, 24])
def test_too_few_weights_have_no_shape(count):
    assert k_hat(torch.randn(count)) == math.inf
    assert k_hat(torch.zeros(count)) == math.inf


def test_equal_weights_are_the_best():
    found = summarise(torch.full((30, 2), -7.0))
    assert found["k_hat"].tolist() == [-math.inf, -math.inf]
    assert torch.allclose(found["ess"], torch.full((2,), 30.0))
    assert torch.allclose(found["values"], torch.full((2,), -7.0))


def test_small_effective_sizes_are_flagged_whatever_the_shape():
    assert is_flagged(torch.tensor([29.0, 31.0, 500.0]), torch.tensor([0.1, 0.1, 0.8])).tolist() == [True, False, True]
