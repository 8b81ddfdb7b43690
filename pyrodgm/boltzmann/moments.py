"""Expectations that make the gradient of the log-partition function."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyrodgm.boltzmann.energy import left_field, right_field
from pyrodgm.boltzmann.layers import TWO_BITS, Kinds


class Moments(NamedTuple):
    """First moments of a machine and the second moments of its couplings: the gradient of log Z.

    Attributes:
        weights: E[l r'], ``[*batch, L, R]``.
        left: E[l], ``[*batch, L]``.
        right: E[r], ``[*batch, R]``.
    """

    weights: Tensor
    left: Tensor
    right: Tensor


@torch.no_grad()
def sample_moments(
    weights: Tensor, left_bias: Tensor, right_bias: Tensor, left: Tensor, right: Tensor, units: Kinds = TWO_BITS
) -> Moments:
    """Moments from states ``[N, L]`` and ``[N, R]`` of the machine, each side's means given the other's states.

    The conditional means have less variance than the states: E[l r'] is that of l E[r | l]'.
    """
    left_mean = units[0].mean(left_field(weights, left_bias, right))
    right_mean = units[1].mean(right_field(weights, right_bias, left))
    return Moments(left.mT.to(right_mean) @ right_mean / len(left), left_mean.mean(0), right_mean.mean(0))


def attach_moments(
    log_partition: Tensor, weights: Tensor, left_bias: Tensor, right_bias: Tensor, moments: Moments
) -> Tensor:
    r"""The value of ``log_partition`` with the gradient that the moments give it.

    .. math:: \frac{\partial \log Z}{\partial W} = \mathbb E[l\, r^\top], \qquad
              \frac{\partial \log Z}{\partial b} = \mathbb E[l], \qquad
              \frac{\partial \log Z}{\partial c} = \mathbb E[r]

    First derivatives only: moments are constants, so the second derivatives are zero.

    Args:
        log_partition: ``[*batch]``, in nats; its own gradient is cut off.
        weights: ``[*batch, L, R]``, real.
        left_bias: ``[*batch, L]``, real.
        right_bias: ``[*batch, R]``, real.
        moments: Exact ones, or an estimate from persistent chains or a population.

    Returns:
        ``[*batch]``, in nats.

    Source: Younes (1989), Probability Theory and Related Fields 82, 625; Tieleman (2008), ICML.

    Example:
        >>> w = torch.zeros(1, 1, requires_grad=True)
        >>> moments = Moments(torch.full((1, 1), 0.25), torch.full((1,), 0.5), torch.full((1,), 0.5))
        >>> attach_moments(torch.tensor(1.386), w, torch.zeros(1), torch.zeros(1), moments).backward()
        >>> w.grad
        tensor([[0.2500]])
    """
    slope = (weights * moments.weights.detach()).sum((-2, -1))
    slope = slope + (left_bias * moments.left.detach()).sum(-1) + (right_bias * moments.right.detach()).sum(-1)
    # The difference is taken first: it is zero, whatever the size of either.
    return log_partition.detach() + (slope - slope.detach())
