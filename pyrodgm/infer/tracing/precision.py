"""Layers in bfloat16, all else in the precision of the parameters."""

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


class _Bfloat16(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in LAYERS or args[0].dtype != torch.float32:
            return func(*args, **kwargs)
        return func(*map(_narrow, args), **{name: _narrow(value) for name, value in kwargs.items()}).float()


@contextmanager
def layers_in_bfloat16() -> Iterator[None]:
    """Context in which linear and convolutional layers of float32 numbers multiply in bfloat16.

    Their results are float32 again, and so are parameters and gradients: densities, which lose their meaning in
    bfloat16, never see any. Nothing is cached, so that a weight that has changed counts at once.
    """
    with _Bfloat16():
        yield


def _narrow(value: Any) -> Any:
    return value.bfloat16() if isinstance(value, Tensor) and value.dtype == torch.float32 else value
