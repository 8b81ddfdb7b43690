"""Annealed importance sampling with Hamiltonian transitions between fitted Student's t mixtures and the posterior."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyrodgm.infer.evaluation.refined import student
from pyrodgm.infer.evaluation.refined.student import Mixture

LEAPFROGS = 3
STEP = 1.35  # mean step size times D^(1/4), in coordinates in which the fitted Gaussian is a standard one
LONGEST = math.pi / 6  # largest mean step size: three steps are a quarter of the period of a standard Gaussian

Gradient = Callable[[Tensor], tuple[Tensor, Tensor]]


def anneal(proposal: Mixture, gradient: Gradient, start: Tensor, temperatures: Tensor, dtype: torch.dtype) -> Tensor:
    r"""Run annealed chains from the first temperature to the last; returns their log-weights ``[chains, B]``.

    .. math:: \log w = \sum_t (\beta_{t+1} - \beta_t)\, [\log p(x, u_t) - \log q(u_t)], \qquad
        u_{t+1} \sim T_{\beta_{t+1}}(\cdot \mid u_t)

    From 0 to 1, with starts drawn from q, the expectation of w is p(x). From 1 to 0, with starts drawn from the
    posterior, the expectation of w (then the inverse weight) is 1 / p(x). Transitions leave
    :math:`q^{1-\beta} p^\beta` invariant; their step size does not depend on the state of the chain.

    Args:
        proposal: The proposal q. Chains move in the coordinates v in which its first Gaussian is a standard one.
        gradient: Returns gradient ``[chains, B, D]`` and value ``[chains, B]`` of log p(x, u) at u.
        start: Starting points u, ``[chains, B, D]``.
        temperatures: Values of :math:`\beta`, ``[steps + 1]``, increasing or decreasing.
        dtype: Dtype in which the joint density is evaluated.

    Source: Neal (2001), Statistics and Computing 11, 125; Grosse, Ghahramani and Adams (2015), arXiv 1511.02543.
    """
    gaussian, is_single = proposal.gaussians[0], len(proposal.gaussians) == 1

    def evaluate(v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-density and gradient of the joint, then those of q, all in v."""
        slope, joint = (part.double() for part in gradient(gaussian.place(v).to(dtype)))
        q = _student(v) if is_single else _mixture(proposal, v)
        return joint - gaussian.log_det(v), gaussian.pull_back(slope, v), *q

    v, log_w = gaussian.standardise(start.double()), start.new_zeros(start.shape[:-1], dtype=torch.float64)
    now = evaluate(v)
    steps = list(zip(temperatures[:-1].tolist(), temperatures[1:].tolist(), strict=True))
    for i, (before, beta) in enumerate(steps):
        log_w = log_w + (beta - before) * (now[0] - now[2])
        if i < len(steps) - 1:
            v, now = _transition(v, now, beta, evaluate)
    return log_w


def _transition(
    v: Tensor, now: tuple[Tensor, ...], beta: float, evaluate: Callable[..., tuple[Tensor, ...]]
) -> tuple[Any, ...]:
    """One Hamiltonian Monte Carlo transition."""

    def level(at: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return beta * at[0] + (1 - beta) * at[2], beta * at[1] + (1 - beta) * at[3]

    mean_step = min(STEP * v.shape[-1] ** -0.25, LONGEST)
    step = mean_step * float(torch.empty(()).uniform_(2 / 3, 4 / 3))
    momentum = torch.randn_like(v)
    value, slope = level(now)
    energy = value - 0.5 * momentum.square().sum(-1)
    moved, at = v, now
    for _ in range(LEAPFROGS):
        momentum = momentum + 0.5 * step * slope
        moved = moved + step * momentum
        at = evaluate(moved)
        value, slope = level(at)
        momentum = momentum + 0.5 * step * slope
    gain = value - 0.5 * momentum.square().sum(-1) - energy
    accept = torch.rand_like(gain).log() < gain.nan_to_num(nan=-torch.inf)
    chosen = tuple(_where(accept, a, b) for a, b in zip((moved, *at), (v, *now), strict=True))
    return chosen[0], chosen[1:]


def _where(accept: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(accept.reshape(*accept.shape, *[1] * (new.dim() - accept.dim())), new, old)


def _student(v: Tensor) -> tuple[Tensor, Tensor]:
    """Log-density of a single t in v, and its gradient."""
    standard = v / student.WIDTH
    weight = (student.DEGREES + v.shape[-1]) / (student.DEGREES + standard.square().sum(-1, keepdim=True))
    return student.standard_log_density(standard), -weight * standard / student.WIDTH


def _mixture(proposal: Mixture, v: Tensor) -> tuple[Tensor, Tensor]:
    """Log-density of a mixture of t's in v, and its gradient."""
    gaussian = proposal.gaussians[0]
    with torch.enable_grad():
        v = v.detach().requires_grad_()
        value = proposal.log_density(gaussian.place(v)) - gaussian.log_det(v)
        return value.detach(), torch.autograd.grad(value.sum(), v)[0]
