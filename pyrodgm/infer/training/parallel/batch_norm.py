"""Batch normalisation over the whole batch where several processes share it."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pyrodgm.processes import Share, all_sum


class SeenNorms(TorchFunctionMode):
    """Notes the shapes that ``batch_norm`` is called with, and lets it take a single row."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[torch.Size] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not F.batch_norm:
            return func(*args, **(kwargs or {}))
        self.shapes.append(args[0].shape)
        return _batch_norm(None, *args, **(kwargs or {}))


class SyncedBatchNorm(TorchFunctionMode):
    """Context in which ``batch_norm`` takes its statistics from the rows of all processes.

    Running means and variances are then the same in all of them.

    Args:
        share: The rows of this process.
        are_rows: For each call in the program, in order, whether its input has rows of the batch, and is not the same
            in all processes anyway.
    """

    def __init__(self, share: Share, are_rows: tuple[bool, ...]) -> None:
        super().__init__()
        self.share, self.are_rows = share, iter(are_rows)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not F.batch_norm:
            return func(*args, **(kwargs or {}))
        return _batch_norm(self.share if next(self.are_rows) else None, *args, **(kwargs or {}))


def _batch_norm(  # noqa: PLR0913 - the arguments of PyTorch's, and the rows
    share: Share | None,
    input: Tensor,  # noqa: A002
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``batch_norm``; in training with the statistics of all processes, where they share its rows."""
    if share is None or not training:
        use_cudnn = torch.backends.cudnn.enabled
        return torch.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, use_cudnn)
    dims = [d for d in range(input.dim()) if d != 1]
    shape = [-1 if d == 1 else 1 for d in range(input.dim())]
    counts = float(share.counts)
    count = input.numel() // input.shape[1] // share.count * share.total
    mean = all_sum(counts * input.sum(dims)) / count
    centred = input - mean.view(shape)
    variance = all_sum(counts * centred.square().sum(dims)) / count
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.detach(), momentum)
            running_var.lerp_(variance.detach() * (count / max(count - 1, 1)), momentum)
    result = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        result = result * weight.view(shape)
    return result if bias is None else result + bias.view(shape)
