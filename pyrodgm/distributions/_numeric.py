"""Logarithms that a draw keeps."""

import math

import torch
from torch import Tensor

from pyrodgm.arithmetic import into_open_interval, wide


def keep_logs(value: Tensor, *logs: Tensor) -> Tensor:
    """Writes on a draw the logarithms that it was computed from, for ``kept_logs``."""
    if not value.is_inference():
        value._pyrodgm_logs = (_stamp(value), *(log.detach() for log in logs))  # type: ignore[attr-defined]
    return value


def kept_logs(value: Tensor) -> tuple[Tensor, ...] | None:
    """Logarithms kept on an untouched draw (without gradient), else None.

    Operations in place and ``value.data = other`` are seen. What is written into the memory behind PyTorch's back is
    not: by ``value.data.copy_(other)``, or through a NumPy array that shares it.
    """
    kept = getattr(value, "_pyrodgm_logs", None)
    return kept[1:] if kept is not None and not value.is_inference() and kept[0] == _stamp(value) else None


def _stamp(value: Tensor) -> tuple[int, int]:
    try:
        return value._version, value.data_ptr()
    except RuntimeError:  # torch.func and fake tensors have no memory of their own
        return value._version, 0


def attach_gradient(log: Tensor, value: Tensor, sign: float = 1.0) -> Tensor:
    """``log`` with the gradient of log q, where q changes as ``value`` does (or against it, for ``sign`` -1)."""
    # Larger coefficients than this could overflow the dtype, in which the value itself has underflowed.
    limit = 0.85 * math.log(torch.finfo(value.dtype).max)
    return log + wide(value - value.detach()) * (sign * (-log).clamp(max=limit).exp())


def unit_logs(value: Tensor) -> tuple[Tensor, Tensor]:
    """Log v and log(1 - v) of ``value`` in [0, 1]; a draw that kept them gives them as exact as they were drawn."""
    kept = kept_logs(value)
    if kept is None:
        inside = wide(into_open_interval(value))
        return inside.log(), torch.log1p(-inside)
    return attach_gradient(kept[0], value), attach_gradient(kept[1], value, -1.0)
