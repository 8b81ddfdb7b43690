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


def kumaraswamy_logit(a: Tensor, b: Tensor, exponential: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logit v of the same v, and its derivatives by a and b; without gradients of their own."""
    log_v, log1m_v = kumaraswamy_logs(a, b, exponential)
    minus_log_y = exponential / b
    near = (minus_log_y > 40.0) & (log_v > -1e-16)
    per_unit = torch.where(near, 0.0, -log1m_v).exp()  # 1 / (1 - v)
    by_a = torch.where(near, 1.0, -log_v * per_unit) / a
    slope = torch.where(near, -torch.expm1(-minus_log_y), a * torch.expm1(minus_log_y) / per_unit)
    return log_v - log1m_v, by_a, -minus_log_y / (b * slope)


def kumaraswamy_log_moment(a: Tensor, b: Tensor, order: int) -> Tensor:
    r"""The logarithm of :math:`E[v^{\text{order}}]`."""
    first = 1.0 + order / a
    return torch.lgamma(first) + torch.lgamma(1.0 + b) - torch.lgamma(first + b)
