"""Logits of sticks at shapes from the least that is allowed to a million, in both formats."""

import pytest
import torch
from torch.nn.functional import logsigmoid

from pyrodgm.distributions import BetaLogit, GammaRatioLogit, KumaraswamyLogit, NormalLogit, StickLogits
from pyrodgm.nn import stick_weights

SHAPES = [1e-15, 1e-10, 1e-5, 1e-2, 1.0, 1e2, 1e6]


@pytest.mark.parametrize("family", [KumaraswamyLogit, BetaLogit, GammaRatioLogit])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_draws_densities_and_gradients_are_finite(family, dtype):
    grid = torch.tensor(SHAPES, dtype=dtype)
    a, b = (x.clone().requires_grad_() for x in torch.cartesian_prod(grid, grid).unbind(-1))
    d = family(a, b)
    logits = d.rsample((2000,))
    for at in (logits, logits.detach(), logits.detach().requires_grad_()):
        log_prob = d.log_prob(at)
        assert log_prob.isfinite().all()
        inputs = [a, b, *([at] if at.is_leaf and at.requires_grad else [])]
        assert all(g.isfinite().all() for g in torch.autograd.grad(log_prob.sum(), inputs, retain_graph=True))
    assert all(g.isfinite().all() for g in torch.autograd.grad(logsigmoid(logits).sum(), (a, b)))


@pytest.mark.parametrize("family", [KumaraswamyLogit, BetaLogit, GammaRatioLogit])
def test_smaller_shapes_are_refused(family):
    for name in ("concentration1", "concentration0"):
        shapes = {"concentration1": torch.tensor(1.0), "concentration0": torch.tensor(1.0), name: torch.tensor(1e-20)}
        with pytest.raises(ValueError, match=name):
            family(**shapes, validate_args=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_normal_logits_have_finite_gradients(dtype):
    for scale in (1e-6, 1e-3, 1.0):
        loc = torch.tensor([-1e3, 0.0, 1e3], dtype=dtype, requires_grad=True)
        spread = torch.full((3,), scale, dtype=dtype, requires_grad=True)
        sticks = StickLogits(NormalLogit(loc, spread))
        logits = sticks.rsample((100,))
        loss = sticks.log_prob(logits).sum() + stick_weights(logits).square().sum()
        assert all(g.isfinite().all() for g in torch.autograd.grad(loss, (loc, spread)))
