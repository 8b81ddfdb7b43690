"""Layers in half precision, all else in the precision of the parameters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

LAYERS: frozenset[Callable[..., Any]] = frozenset(
    (F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
)


class _Narrow(TorchFunctionMode):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in LAYERS or args[0].dtype != torch.float32:
            return func(*args, **kwargs)
        narrow = {name: self._narrow(value) for name, value in kwargs.items()}
        return func(*map(self._narrow, args), **narrow).float()

    def _narrow(self, value: Any) -> Any:
        return value.to(self.dtype) if isinstance(value, Tensor) and value.dtype == torch.float32 else value


@contextmanager
def layers_in(dtype: torch.dtype) -> Iterator[None]:
    """Context in which linear and convolutional layers of float32 numbers multiply in bfloat16 or float16.

    Their results are float32 again, and so are parameters and gradients: densities, which lose their meaning in half
    precision, never see any. Nothing is cached, so that a weight that has changed counts at once.
    """
    with _Narrow(dtype):
        yield
