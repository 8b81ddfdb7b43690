"""Private names of PyTorch that the lower floors need."""

import torch
from torch import Tensor


def version_of(tensor: Tensor) -> int:
    """How often the tensor was written in place; 0 where that is not counted."""
    return 0 if tensor.is_inference() else tensor._version


def standard_gamma(concentration: Tensor) -> Tensor:
    """A draw from Gamma(concentration, 1)."""
    return torch._standard_gamma(concentration)


def standard_gamma_with_slope(concentration: Tensor) -> tuple[Tensor, Tensor]:
    """A draw from Gamma(concentration, 1), and its derivative by the concentration."""
    draw = torch._standard_gamma(concentration)
    return draw, torch.empty_like(draw) if draw.is_meta else torch._standard_gamma_grad(concentration, draw)


def in_transform() -> bool:
    """Whether a transform of ``torch.func`` or forward mode runs, through which operators of our own do not go."""
    return torch._C._functorch.peek_interpreter_stack() is not None or torch.autograd.forward_ad._current_level >= 0
