"""Annealed importance sampling between fitted Student's t distributions and the posterior, by Hamiltonian steps."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyrodgm.infer.evaluation.refined import student
from pyrodgm.infer.evaluation.refined.student import Mixture

LEAPFROGS = 3
STEP = 1.35  # times D^(-1/4): the step size in the coordinates in which the fitted Gaussian is a standard one
LONGEST = math.pi / 6  # of the mean step: three are a quarter of the period of a standard Gaussian

Gradient = Callable[[Tensor], tuple[Tensor, Tensor]]


def anneal(proposal: Mixture, gradient: Gradient, start: Tensor, temperatures: Tensor, dtype: torch.dtype) -> Tensor:
    r"""Log-weights ``[chains, B]`` of chains from the first temperature to the last.

    .. math:: \log w = \sum_t (\beta_{t+1} - \beta_t)\, [\log p(x, u_t) - \log q(u_t)], \qquad
        u_{t+1} \sim T_{\beta_{t+1}}(\cdot \mid u_t)

    From 0 to 1 with starts from q, the mean of w is p(x) in expectation; from 1 to 0 with starts from the posterior,
    that of w (which is then the inverse weight) is 1 / p(x). Transitions leave :math:`q^{1-\beta} p^\beta` invariant;
    their step size depends on no state.

    Args:
        proposal: q. Chains move in the coordinates v in which its first Gaussian is a standard one.
        gradient: Gives gradient ``[chains, B, D]`` and value ``[chains, B]`` of log p(x, u) at u.
        start: u ``[chains, B, D]``.
        temperatures: Beta, ``[steps + 1]``, increasing or decreasing.
        dtype: That of u.

    Source: Neal (2001), Statistics and Computing 11, 125; Grosse, Ghahramani and Adams (2015), arXiv 1511.02543.
    """
    gaussian, is_single = proposal.gaussians[0], len(proposal.gaussians) == 1

    def evaluate(v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-densities of posterior and q, both in v, and their gradients."""
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
    """One Hamiltonian trajectory, accepted or not."""

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
    """Log-density of the t in v, and its gradient."""
    standard = v / student.WIDTH
    weight = (student.DEGREES + v.shape[-1]) / (student.DEGREES + standard.square().sum(-1, keepdim=True))
    return student.standard_log_density(standard), -weight * standard / student.WIDTH


def _mixture(proposal: Mixture, v: Tensor) -> tuple[Tensor, Tensor]:
    """The same of a mixture of t's."""
    gaussian = proposal.gaussians[0]
    with torch.enable_grad():
        v = v.detach().requires_grad_()
        value = proposal.log_density(gaussian.place(v)) - gaussian.log_det(v)
        return value.detach(), torch.autograd.grad(value.sum(), v)[0]
