"""The expected logarithm of one minus a power of a Kumaraswamy fraction."""

import torch
from torch import Tensor

from pyrodgm.arithmetic import with_slopes
from pyrodgm.distributions.quadrature import exponential_nodes


def expected_log1m_power(ratio: Tensor, b: Tensor, single: bool = False) -> Tensor:
    r"""E[log(1 - v^power)] for v ~ Kumaraswamy(a, b) and ``ratio`` = power / a, by tanh-sinh quadrature in float64.

    .. math:: \int_0^\infty e^{-e} \log\bigl(1 - (1 - e^{-e / b})^{\text{ratio}}\bigr)\, de

    97 nodes: relative error below 3e-9 for ratios up to 100, 1e-12 up to 10. With ``single`` 41 nodes: 2e-6 and 3e-9.

    >>> one = torch.ones((), dtype=torch.float64)
    >>> round(expected_log1m_power(one, 4.0 * one).item(), 9)  # E[log(1 - v)] of Beta(1, 4)
    -0.25
    """
    shape = torch.broadcast_shapes(ratio.shape, b.shape)
    fixed_ratio, fixed_b = ratio.detach().expand(shape), b.detach().expand(shape)
    points, weights = exponential_nodes(fixed_b, 41, 2.75) if single else exponential_nodes(fixed_b, 97, 3.1)
    exponent = points / fixed_b.unsqueeze(-1)
    # Beyond 600 the logarithm is linear to the last digit; below 1e-15 the weights vanish.
    inside = exponent.clamp(1e-15, 600.0)
    y = inside.neg().exp()
    log_va = torch.log1p(-y)
    rest = -torch.expm1(log_va * fixed_ratio.unsqueeze(-1))
    value = (inside - exponent + rest.log()) @ weights
    slope = 1.0 - rest.reciprocal()
    by_b = (exponent * slope * y / (1.0 - y)) @ weights * (-fixed_ratio / fixed_b)
    return with_slopes(value, (ratio, b), ((slope * log_va) @ weights, by_b))
