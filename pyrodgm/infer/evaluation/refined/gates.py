"""Gated linear units under batched forward-mode derivatives."""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class GatesInParts(TorchFunctionMode):
    """Replaces ``glu`` by an explicit product, since its forward-mode derivative has no batching rule in PyTorch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.glu:
            return _gated(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _gated(input: Tensor, dim: int = -1) -> Tensor:  # noqa: A002
    value, gate = input.chunk(2, dim)
    return value * gate.sigmoid()
