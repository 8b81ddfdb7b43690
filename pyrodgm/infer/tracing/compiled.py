"""A graph run by PyTorch's compiler."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from pyrodgm.infer.tracing._compat import compile_graph


class Compiled:
    """A graph compiled at its first call on inputs of each layout, or run uncompiled if that fails.

    The compiler gets the graph itself: there is no Python in it for ``torch.compile`` to read, which takes longer than
    to compile a small graph, nor to guard at each call, which takes one twentieth of a VAE's step.
    """

    def __init__(self, graph: GraphModule) -> None:
        self.graph = graph
        self.runs: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def __call__(self, *inputs: Any) -> Any:
        layout = tuple((x.shape, x.stride(), x.dtype, x.device) for x in inputs if isinstance(x, Tensor))
        with torch.no_grad():
            try:
                if layout not in self.runs:
                    self.runs[layout] = compile_graph(self.graph, inputs)
                return self.runs[layout](*inputs)
            except Exception as error:
                if self.runs.get(layout) is self.graph:
                    raise
                reason = str(error).strip().split("\n")[0]
                warnings.warn(f"this graph cannot be compiled and runs uncompiled: {reason}", stacklevel=2)
                self.runs[layout] = self.graph
                return self.graph(*inputs)


def _expm1(x: Tensor) -> Tensor:
    """exp(x) - 1 to rounding: PyTorch's compiler for the CPU takes the difference itself, which is 0 for small x."""
    return torch.tanh(0.5 * x) * (x.exp() + 1.0)


def _expm1_(x: Tensor) -> Tensor:
    return x.copy_(_expm1(x))


def _addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """A product and its bias apart, so that the bias is added with what follows and not in a pass before the product.

    The subtraction is a sum that the compiler does not put together again.
    """
    if a.device.type != "cpu" or (beta, alpha) != (1, 1):
        return NotImplemented
    return torch.mm(a, b) - (-bias)


FOR_THE_COMPILER: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.expm1.default: _expm1,
    torch.ops.aten.expm1_.default: _expm1_,
    torch.ops.aten.addmm.default: _addmm,
}
