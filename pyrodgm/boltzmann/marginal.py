"""Probabilities of the left units with the right ones summed out."""

from torch import Tensor

from pyrodgm.boltzmann.energy import right_field
from pyrodgm.boltzmann.layers import TWO_BITS, Kinds


def log_marginal(
    weights: Tensor, left_bias: Tensor, right_bias: Tensor, left: Tensor, units: Kinds = TWO_BITS
) -> Tensor:
    r"""Log of the unnormalised probability of left states, the right units summed out.

    .. math:: \log \sum_r e^{-E(l, r)} = b^\top l + \sum_j \log\bigl(1 + e^{(l^\top W + c)_j}\bigr)

    for bits on the right; A of their fields in place of the logarithm for other kinds.

    Args:
        weights: ``[*batch, L, R]``, real.
        left_bias: ``[*batch, L]``, real.
        right_bias: ``[*batch, R]``, real.
        left: ``[*, L]``, states.
        units: The kinds of the left and of the right units; of bits by default.

    Returns:
        ``[*]``, in nats; minus what is called the free energy.

    Example:
        >>> import torch
        >>> log_marginal(torch.zeros(2, 3), torch.zeros(2), torch.zeros(3), torch.ones(2))  # 3 log 2
        tensor(2.0794)
    """
    return (left * left_bias).sum(-1) + units[1].log_partition(right_field(weights, right_bias, left)).sum(-1)
