"""``torch.nn.functional.one_hot`` in a program that is traced."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class TraceableOneHot(TorchFunctionMode):
    """Context in which ``one_hot(x, num_classes)`` is a comparison; PyTorch's own looks at the values of ``x``.

    Without ``num_classes`` the shape of the result depends on them, so that tracing fails with what to write.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not F.one_hot:
            return func(*args, **(kwargs or {}))
        return _one_hot(*args, **(kwargs or {}))


def _one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    if num_classes < 1:
        raise ValueError(
            "write F.one_hot(x, num_classes) with the number of classes: without it the shape depends on x"
        )
    return (tensor.unsqueeze(-1) == torch.arange(num_classes, device=tensor.device)).to(torch.int64)
