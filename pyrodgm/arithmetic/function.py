"""Functions with a backward pass of their own."""

import inspect
from typing import Any

import torch


class Function(torch.autograd.Function):
    """An autograd function of which PyTorch need not find out the arguments of ``forward`` at every call.

    It inspects them to fill in defaults, which takes longer than a small operation.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        vars(cls)["forward"].__func__.__signature__ = inspect.signature(cls.forward)
