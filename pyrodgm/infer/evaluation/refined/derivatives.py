"""Derivatives of functions of points ``[points, B, D]``."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp, vmap

from pyrodgm.infer.evaluation.refined.gates import GatesInParts


def value_gradient(density: Callable[[Tensor], Tensor], u: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient ``[points, B, D]`` and value ``[points, B]`` of a log-density at u."""
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        value = density(u)
        return torch.autograd.grad(value.sum(), u)[0], value.detach()


def forward_derivatives(function: Callable[[Tensor], Any], u: Tensor) -> Any:
    """Forward-mode derivatives of a function at u, stacked over the D coordinates, in one batched pass."""
    basis = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
    with GatesInParts():
        return vmap(lambda direction: jvp(function, (u,), (direction.expand_as(u),))[1], randomness="same")(basis)
