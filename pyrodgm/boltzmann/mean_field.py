"""The mean-field lower bound of the log-partition function."""

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.boltzmann.energy import check_parameters, left_field, negative_energy, right_field
from pyrodgm.boltzmann.layers import TWO_BITS, Kinds, check_kinds


def mean_field_log_partition(
    weights: Tensor, left_bias: Tensor, right_bias: Tensor, num_iterations: int = 5, units: Kinds = TWO_BITS
) -> Tensor:
    r"""Lower bound of the log-partition function by independent units.

    .. math:: \log Z \ge \mathbb E_q[-E] + \mathrm H(q), \qquad q = \prod_i \mathrm{Bernoulli}(m_i)

    or by independent units of other kinds. The means start at those of fields of 0; each iteration sets the right ones
    to their best given the left, then the left ones given the right. However few the iterations, the value is a lower
    bound. Its gradient is that of :math:`\mathbb E_q[-E]` with the means held fixed, the gradient of the bound itself
    where the means have converged (there the bound is stationary in them) and near it before.

    Args:
        weights: ``[*batch, L, R]``, real.
        left_bias: ``[*batch, L]``, real; batch dimensions broadcast.
        right_bias: ``[*batch, R]``, real.
        num_iterations: How many iterations, at least 1.
        units: The kinds of the left and of the right units; of bits by default.

    Returns:
        ``[*batch]``, in nats.

    Raises:
        ValueError: If ``num_iterations`` is not positive or the shapes do not fit.

    Source: Vahdat, Andriyash and Macready (2018), DVAE#, arXiv 1805.07445.

    Example:
        >>> round(mean_field_log_partition(torch.zeros(2, 3), torch.zeros(2), torch.zeros(3)).item() / 5, 4)  # log 2
        0.6931
    """
    check_parameters(weights, left_bias, right_bias)
    num_iterations = whole_number("num_iterations", num_iterations)
    check_kinds(units, weights.shape[-2:])
    with torch.no_grad():
        left_mean = units[0].mean(torch.zeros_like(left_bias))
        for _ in range(num_iterations):
            right_logits = right_field(weights, right_bias, left_mean)
            right_mean = units[1].mean(right_logits)
            left_logits = left_field(weights, left_bias, right_mean)
            left_mean = units[0].mean(left_logits)
        entropy = units[0].entropy(left_logits).sum(-1) + units[1].entropy(right_logits).sum(-1)
    return negative_energy(weights, left_bias, right_bias, left_mean, right_mean) + entropy
