"""The quantile function and the moments of the Kumaraswamy distribution as functions of its concentrations."""

import torch
from torch import Tensor

from pyrodgm.arithmetic.log_space import log1mexp


def kumaraswamy_logs(a: Tensor, b: Tensor, exponential: Tensor) -> tuple[Tensor, Tensor]:
    r"""Log v and log(1 - v) where :math:`(1 - v^a)^b = e^{-\text{exponential}}`, in the dtype of the arguments."""
    minus_log_y = exponential / b
    log_v = log1mexp(-minus_log_y) / a
    # Before y = exp(-minus_log_y) = 1 - v^a underflows: 1 - v = y / a to the last digit.
    near = (minus_log_y > 40.0) & (log_v > -1e-16)
    return log_v, torch.where(near, -minus_log_y - a.log(), log1mexp(torch.where(near, -1.0, log_v)))


def kumaraswamy_log_moment(a: Tensor, b: Tensor, order: int) -> Tensor:
    r"""The logarithm of :math:`E[v^{\text{order}}]`."""
    first = 1.0 + order / a
    return torch.lgamma(first) + torch.lgamma(1.0 + b) - torch.lgamma(first + b)
