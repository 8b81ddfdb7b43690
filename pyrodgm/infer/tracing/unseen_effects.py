"""What a program does that no graph of its tensor operations can repeat, found while it is traced."""

from collections.abc import Callable
from ctypes import string_at
from operator import getitem
from typing import Any, Self

import torch
from torch import Tensor
from torch.fx import Graph, Node
from torch.overrides import TorchFunctionMode

from pyrodgm.infer.tracing._compat import OpOverload, changes_an_argument, is_draw, node_of

TAKE_OUT = {Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__dlpack__, Tensor.apply_, Tensor.map_}
READ_UNSEEN = {torch.tensor_split, Tensor.tensor_split}  # the memory of tensors where to split


class OnlyOperations(TorchFunctionMode):
    """Context in which tracing fails where a program takes values out of tensors, or steers the random numbers.

    PyTorch itself lets it fail at ``item()`` and ``if``; but what NumPy gets of a tensor would be a constant of the
    graph, which would also draw from PyTorch's one generator, from where that is, whatever the program says.
    """

    def __enter__(self) -> Self:
        self.state = _state()
        super().__enter__()
        return self

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.compiler.is_compiling():  # the branches of an operator for control flow, which PyTorch itself reads
            return func(*args, **kwargs)
        self.require_same_state()
        if isinstance(kwargs.get("generator"), torch.Generator) or func.__name__.startswith("_sobol_engine"):
            raise RuntimeError("it draws from a generator of its own, which a graph does not have: draw without one")
        if func in TAKE_OUT:
            _require_constants(func, args[:1])
        elif func in READ_UNSEEN:
            _require_constants(func, (*args[1:], *kwargs.values()))
        result = func(*args, **kwargs)
        self.state = _state()
        return result

    def require_same_state(self) -> None:
        """Raise RuntimeError if something else than an operation has changed the state of the random numbers."""
        if self.state != _state():
            raise RuntimeError("it sets the seed or state of the random numbers, which a graph does not: only draw")


def _state() -> bytes:
    state = torch.get_rng_state()
    return string_at(state.data_ptr(), state.numel())  # any operation on it would be part of the graph


def _require_constants(func: Callable[..., Any], taken: tuple[Any, ...]) -> None:
    nodes = [node for x in taken if isinstance(x, Tensor) and (node := node_of(x)) is not None]
    if any(node in varying(node.graph) for node in nodes):
        raise RuntimeError(
            f"{func.__name__} takes values out of a tensor, which would be constants of a graph: compute with tensors"
        )


def require_fixed_shape(node: Node) -> None:
    """Raise RuntimeError for an operation the shape of whose result depends on values, as that of ``nonzero`` does."""
    if not isinstance(node.target, OpOverload) or torch.Tag.dynamic_output_shape not in node.target.tags:
        return
    deciding = node.all_input_nodes
    if node.target is torch.ops.aten.index.Tensor:
        indices: Any = node.args[1]
        deciding = [i for i in indices if i is not None and i.meta.get("dtype") in (torch.bool, torch.uint8)]
    if deciding and not varying(node.graph).isdisjoint(deciding):
        raise RuntimeError(
            f"the shape of what {node.target} gives depends on values, and a graph has one shape: use torch.where, or "
            "index by numbers"
        )


def varying(graph: Graph) -> set[Node]:
    """The nodes that come of inputs or draws, also by writes to what shares their memory; others are constants."""
    found: set[Node] = set()
    owner: dict[Node, Node] = {}  # of the memory
    for node in graph.nodes:
        inputs = node.all_input_nodes
        writes, operation = changes_an_argument(node), node.target if isinstance(node.target, OpOverload) else None
        shares = inputs and (writes or node.target is getitem or (operation and operation.is_view))
        owner[node] = owner[inputs[0]] if shares else node
        drawn = operation and is_draw(operation)
        if node.op == "placeholder" or drawn or any(i in found or owner[i] in found for i in inputs):
            found.add(node)
            found.update(owner[i] for i in inputs if writes)
    return found | {node for node in owner if owner[node] in found}
