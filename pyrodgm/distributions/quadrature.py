"""Nodes and weights for expectations under an exponential and under a Normal draw."""

import functools
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


@functools.cache
def _tanh_sinh(nodes: int, reach: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Minus the logarithm of u in (0, 1), and weights that sum to one, by the tanh-sinh rule."""
    t = np.linspace(-reach, reach, nodes)
    inner = math.pi * np.sinh(t)
    minus_log_u = np.logaddexp(0.0, inner)
    weights = np.cosh(t) * np.exp(-minus_log_u - np.logaddexp(0.0, -inner))
    return tuple(minus_log_u), tuple(weights / weights.sum())


def exponential_nodes(like: Tensor, nodes: int = 97, reach: float = 3.1) -> tuple[Tensor, Tensor]:
    r"""Points and weights ``[nodes]`` with :math:`\sum_i w_i f(e_i) \approx \int_0^\infty e^{-e} f(e) \, de`.

    The tanh-sinh rule on the uniform draw :math:`u = e^{-e}`: integrable singularities at either end cost nothing.

    Source: Takahasi and Mori (1974), Publ. RIMS 9, 721.

    >>> points, weights = exponential_nodes(torch.zeros((), dtype=torch.float64))
    >>> round((weights * points.log()).sum().item(), 9)  # minus Euler's constant
    -0.577215665
    """
    points, weights = _tanh_sinh(nodes, reach)
    return like.new_tensor(points), like.new_tensor(weights)


@functools.cache
def _graded_half_line(step: float, left: float, right: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Nodes on (0, right) whose spacing shrinks double-exponentially towards 0 and is about ``step`` beyond 1."""
    u = np.arange(left, right, step)
    x = u - np.exp(-u)
    return tuple(np.logaddexp(0.0, x)), tuple(step * (1.0 + np.exp(-u)) / (1.0 + np.exp(-x)))


def normal_nodes(edge: Tensor, step: float = 0.2) -> tuple[Tensor, Tensor]:
    r"""Points and weights ``[*batch, nodes]`` with :math:`\sum_i w_i f(z_i) \approx E[f(z)]`, z standard Normal.

    ``f`` may bend as sharply as it likes at ``edge`` ``[*batch]``, where the nodes crowd, and must be smooth on the
    scale of one elsewhere. The nodes carry no gradient: the sum's gradient is the quadrature of the integrand's.

    >>> points, weights = normal_nodes(torch.zeros((), dtype=torch.float64))
    >>> round((weights * points.abs()).sum().item(), 9)  # sqrt(2 / pi)
    0.797884561
    """
    # Beyond 10 the Normal holds 1e-23.
    edge = edge.detach().clamp(-10.0, 10.0).unsqueeze(-1)
    distance, spacing = (edge.new_tensor(x) for x in _graded_half_line(step, -3.7, 20.5))
    points = torch.cat([edge - distance, edge + distance], -1)
    weights = torch.cat([spacing, spacing]) * torch.exp(-0.5 * points.square()) / math.sqrt(2.0 * math.pi)
    return points, weights


def beta_nodes(concentration1: Tensor, concentration0: Tensor, nodes: int = 301) -> tuple[Tensor, Tensor, Tensor]:
    r"""Log v, log(1 - v) and weights, ``[*batch, nodes]``, of an expectation over v ~ Beta.

    The trapezoidal rule over x in logit v = mode + width sinh x. The nodes carry no gradient, the weights do.

    >>> alpha = torch.tensor(2.0, dtype=torch.float64)
    >>> log_v, _, weights = beta_nodes(alpha, 3.0 * alpha)
    >>> round((weights * log_v.exp()).sum().item(), 9)
    0.25
    """
    alpha, beta = concentration1.unsqueeze(-1), concentration0.unsqueeze(-1)
    grid = torch.linspace(-9.0, 9.0, nodes, dtype=alpha.dtype, device=alpha.device)
    width = (1.0 / alpha + 1.0 / beta).sqrt().clamp(max=1.0).detach()
    logit = (alpha.log() - beta.log()).detach() + width * grid.sinh()
    log_v, log1m_v = logsigmoid(logit), logsigmoid(-logit)
    return log_v, log1m_v, (alpha * log_v + beta * log1m_v + grid.cosh().log()).softmax(-1)
