"""Small pieces that several distributions share."""

import torch
from torch import Tensor


def wide(tensor: Tensor) -> Tensor:
    """The tensor in float64, or as it is on a device that has none."""
    return tensor if tensor.device.type == "mps" else tensor.to(torch.float64)
