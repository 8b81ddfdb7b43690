"""Block-Gibbs sampling of a bipartite Boltzmann machine."""

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import real_tensors, validated, whole_number
from pyrodgm.boltzmann.energy import (
    check_parameters,
    check_sides,
    check_states,
)
from pyrodgm.boltzmann.layers import TWO_BITS, Kinds, check_kinds
from pyrodgm.boltzmann.looked_up import fields_of_sweeps
from pyrodgm.boltzmann.units import draw_bits


def random_states(weights: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """Left and right states ``[N, L]`` and ``[N, R]`` of fair coins, in the dtype and on the device of the weights."""
    num_samples = whole_number("num_samples", num_samples)
    validated(weights=weights)
    real_tensors(weights=weights)
    check_sides(weights)
    return (
        draw_bits(weights.new_zeros(num_samples, weights.shape[-2])),
        draw_bits(weights.new_zeros(num_samples, weights.shape[-1])),
    )


@torch.no_grad()
def gibbs_sweeps(
    weights: Tensor,
    left_bias: Tensor,
    right_bias: Tensor,
    left: Tensor,
    num_sweeps: int = 1,
    units: Kinds = TWO_BITS,
) -> tuple[Tensor, Tensor]:
    r"""Sweeps of block-Gibbs sampling: the right units given the left ones, then the left given the right.

    .. math:: r_j \sim \mathrm{Bernoulli}\,\sigma\bigl((l^\top W + c)_j\bigr), \qquad
              l_i \sim \mathrm{Bernoulli}\,\sigma\bigl((W r + b)_i\bigr)

    or from the like of other kinds. A sweep leaves p(l, r) invariant. Its cost is two matrix products and the random
    numbers; with many chains and sweeps on a CPU, sums of rows are looked up in place of products.

    Args:
        weights: ``[*batch, L, R]``, real.
        left_bias: ``[*batch, L]``, real.
        right_bias: ``[*batch, R]``, real.
        left: Left states of the chains, ``[*, L]``; left as they are.
        num_sweeps: How many sweeps, at least 1.
        units: The kinds of the left and of the right units; of bits by default.

    Returns:
        New left and right states, ``[*, L]`` and ``[*, R]``, without gradient.

    Raises:
        ValueError: If ``num_sweeps`` is not positive or the shapes do not fit.

    Source: Hinton (2002), Neural Computation 14, 1771.

    Example:
        >>> left, right = gibbs_sweeps(torch.zeros(3, 2), torch.full((3,), 99.0), torch.zeros(2), torch.zeros(5, 3))
        >>> left.mean(), right.shape
        (tensor(1.), torch.Size([5, 2]))
    """
    check_parameters(weights, left_bias, right_bias)
    check_states("left", left, weights.shape[-2])
    check_kinds(units, weights.shape[-2:])
    num_sweeps = whole_number("num_sweeps", num_sweeps)
    for to_right, to_left in fields_of_sweeps(weights, (left_bias, right_bias), units, left, num_sweeps):
        right = units[1].draw(to_right(left))
        left = units[0].draw(to_left(right))
    return left, right
