"""Log-space arithmetic on (0, 1) that several distributions share."""

import math
from typing import Any

import torch
from torch import Tensor


def floating(tensor: Tensor) -> Tensor:
    """The tensor, or integers in the default dtype."""
    return tensor if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())


def wide(tensor: Tensor) -> Tensor:
    """The tensor in float64, or as it is on a device that has none.

    Gradients below 1e-30 do not come back from float64: further down they would be denormal numbers, with which some
    processors multiply matrices ten times more slowly.
    """
    if tensor.device.type == "mps" or tensor.dtype == torch.float64:
        return tensor
    return _Widen.apply(tensor)


class _Widen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.dtype = tensor.dtype
        return tensor.to(torch.float64)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return torch.where(gradient.abs() < 1e-30, 0.0, gradient).to(ctx.dtype)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, to rounding for every x; gradients are finite wherever the value is."""
    near = x > -0.6931471805599453
    # Each branch gets an input that is safe for it: the branch not taken sends a gradient too.
    close, far = torch.where(near, x, -1.0), torch.where(near, -1.0, x)
    return torch.where(near, (-torch.expm1(close)).log(), torch.log1p(-far.exp()))


def log1m_power(power: Tensor, log_value: Tensor, log1m_value: Tensor) -> Tensor:
    """log(1 - v^power) from log v and log(1 - v), exact even where log v has underflowed to zero."""
    near = power.clamp(min=1.0) * log_value > -1e-16
    return torch.where(near, power.log() + log1m_value, log1mexp(power * torch.where(near, -1.0, log_value)))


def into_open_interval(value: Tensor) -> Tensor:
    """The nearest number strictly inside (0, 1) of the tensor's dtype; gradients pass as if nothing was moved."""
    info = torch.finfo(value.dtype)
    fixed = value.detach()
    return value + (fixed.clamp(info.tiny, 1.0 - 0.5 * info.eps) - fixed)


def keep_logs(value: Tensor, *logs: Tensor) -> Tensor:
    """Writes on a draw the logarithms that it was computed from, for `kept_logs`."""
    if not value.is_inference():
        value._pyrodgm_logs = (_stamp(value), *(log.detach() for log in logs))  # type: ignore[attr-defined]
    return value


def kept_logs(value: Tensor) -> tuple[Tensor, ...] | None:
    """Logarithms kept on an untouched draw (without gradient), else None.

    Operations in place and `value.data = other` are seen. What is written into the memory behind PyTorch's back is not:
    by `value.data.copy_(other)`, or through a NumPy array that shares it.
    """
    kept = getattr(value, "_pyrodgm_logs", None)
    return kept[1:] if kept is not None and not value.is_inference() and kept[0] == _stamp(value) else None


def _stamp(value: Tensor) -> tuple[int, int]:
    try:
        return value._version, value.data_ptr()
    except RuntimeError:  # torch.func and fake tensors have no memory of their own
        return value._version, 0


def attach_gradient(log: Tensor, value: Tensor, sign: float = 1.0) -> Tensor:
    """`log` with the gradient of log q, where q changes as `value` does (or against it, for `sign` -1)."""
    # Larger coefficients than this could overflow the dtype, in which the value itself has underflowed.
    limit = 0.85 * math.log(torch.finfo(value.dtype).max)
    return log + wide(value - value.detach()) * (sign * (-log).clamp(max=limit).exp())


def unit_logs(value: Tensor) -> tuple[Tensor, Tensor]:
    """Log v and log(1 - v) of `value` in [0, 1]; a draw that kept them gives them as exact as they were drawn."""
    kept = kept_logs(value)
    if kept is None:
        inside = wide(into_open_interval(value))
        return inside.log(), torch.log1p(-inside)
    return attach_gradient(kept[0], value), attach_gradient(kept[1], value, -1.0)
