"""Logarithms of numbers in (0, 1) without cancellation or underflow."""

import math
from typing import Any

import torch
from torch import Tensor

from pyrodgm.arithmetic.function import Function


def floating(tensor: Tensor) -> Tensor:
    """The tensor, or integers in the default dtype."""
    return tensor if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())


def wide(tensor: Tensor) -> Tensor:
    """The tensor in float64; itself on a device that has none.

    Gradients come back from float64 within the range of the tensor's dtype: none below 1e-30, where denormal numbers
    would slow matrix products down tenfold, and none above 1e36.
    """
    if tensor.device.type == "mps" or tensor.dtype == torch.float64:
        return tensor
    return _Widen.apply(tensor)


class _Widen(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(tensor: Tensor) -> Tensor:
        return tensor.to(torch.float64)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.dtype = inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return torch.where(gradient.abs() < 1e-30, 0.0, gradient.clamp(-1e36, 1e36)).to(ctx.dtype)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent.to(torch.float64)


def normal_cdf(x: Tensor) -> Tensor:
    """The standard Normal distribution function, to rounding in the lower tail too, where ``ndtr`` is good to 1e-16.

    >>> normal_cdf(torch.tensor(-10.0)).item() > 7.6e-24
    True
    """
    return 0.5 * torch.erfc(x * -math.sqrt(0.5))


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, to rounding for every x; gradients are finite wherever the value is."""
    near = x > -0.6931471805599453
    # Each branch gets an input that is safe for it: the branch not taken sends a gradient too.
    close, far = torch.where(near, x, -1.0), torch.where(near, -1.0, x)
    return torch.where(near, (-torch.expm1(close)).log(), torch.log1p(-far.exp()))


def log1m_power(power: Tensor, log_value: Tensor, log1m_value: Tensor) -> Tensor:
    """log(1 - v^power) from log v and log(1 - v), exact even where log v has underflowed to zero."""
    near = power.clamp(min=1.0) * log_value > -torch.finfo(log_value.dtype).eps
    return torch.where(near, power.log() + log1m_value, log1mexp(power * torch.where(near, -1.0, log_value)))


def into_open_interval(value: Tensor) -> Tensor:
    """The nearest number that is inside (0, 1) and whose logarithms have finite gradients; these pass as they come.

    The ends are 1.2e-38 and 1 - 6e-8 in float32, 1e-290 and 1 - 1.1e-16 in float64.
    """
    info = torch.finfo(value.dtype)
    fixed = value.detach()
    return value + (fixed.clamp(max(info.tiny, 1e-290), 1.0 - 0.5 * info.eps) - fixed)


def unit_logit(value: Tensor) -> Tensor:
    """Log v - log(1 - v) of numbers in [0, 1], in float64 and finite."""
    inside = wide(into_open_interval(value))
    return inside.log() - torch.log1p(-inside)
