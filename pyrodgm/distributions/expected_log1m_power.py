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
    fixed_ratio = ratio.detach().expand(shape)
    fixed_b = b.detach() + 0.0 * fixed_ratio  # batched by vmap as either is: what is written in place has to be
    points, weights = exponential_nodes(fixed_b, 41, 2.75) if single else exponential_nodes(fixed_b, 97, 3.1)
    # In as few passes and as little memory as it takes: this is a large part of a step of sticks.
    by_shape = weights * (1.0 - points)  # with s = e / b the weight is b exp(-b s): its derivative brings (1 - e) / b
    # Minus s. Beyond 600 the logarithm is linear to the last digit; below 1e-15 the weights vanish.
    log_va = (points / -fixed_b.unsqueeze(-1)).clamp(-600.0, -1e-15)
    linear, linear_by_b = log_va @ weights, log_va @ by_shape
    log_va = log_va.exp_().neg_().log1p_()
    rest = (log_va * fixed_ratio.unsqueeze(-1)).expm1_().neg_()
    by_ratio = log_va @ weights - log_va.div_(rest) @ weights
    logs = rest.log_()
    value = logs @ weights - linear - (points @ weights) / fixed_b
    by_b = (logs @ by_shape - linear_by_b - (points @ by_shape) / fixed_b) / fixed_b
    return with_slopes(value, (ratio, b), (by_ratio, by_b))
