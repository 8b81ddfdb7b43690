"""Values whose first derivatives are known beside them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyrodgm.arithmetic.function import Function

SMALLEST = 1e-30  # below it a gradient is 0: matrix products with denormal numbers are ten times slower


def with_slopes(value: Tensor, inputs: Sequence[Tensor], slopes: Sequence[Tensor]) -> Tensor:
    """The value, an elementwise function of the inputs with these derivatives.

    Reverse and forward mode and ``vmap`` work; second derivatives are refused, or NaN in forward mode.

    Args:
        value: ``[*]``, computed from detached inputs.
        inputs: Tensors that broadcast to ``[*]``.
        slopes: The derivative of the value by each input, ``[*]``.
    """
    shaped = (x.expand(value.shape).to(value.dtype) for x in inputs)
    return _WithSlopes.apply(value, *slopes, *shaped)


class _WithSlopes(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, *others: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        half = len(saved) // 2
        gradients = []
        for slope, x in zip(saved[:half], saved[half:], strict=True):
            gradient = grad * _Constant.apply(slope, x)
            gradients.append(torch.where(gradient.abs() < SMALLEST, 0.0, gradient))
        return None, *[None] * half, *gradients

    @staticmethod
    def jvp(ctx: Any, of_value: Tensor | None, *tangents: Tensor | None) -> Tensor:
        saved = ctx.saved_tensors
        half = len(saved) // 2
        total = torch.zeros_like(saved[0])
        for slope, tangent in zip(saved[:half], tangents[half:], strict=True):
            if tangent is not None:
                total = total + slope * tangent
        return total


class _Constant(Function):
    """A slope, whose own derivative is not known."""

    generate_vmap_rule = True

    @staticmethod
    def forward(slope: Tensor, x: Tensor) -> Tensor:
        return slope.view_as(slope)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("this function of a distribution's parameters has no second derivatives")

    @staticmethod
    def jvp(ctx: Any, of_slope: Tensor | None, tangent: Tensor | None) -> Tensor:
        return torch.full_like(next(t for t in (of_slope, tangent) if t is not None), torch.nan)
