"""A graph of one model as the graph of several, whose tensors are stacked."""

import operator
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.fx import GraphModule, Node

from pyrodgm.infer.tracing._compat import (
    changes_an_argument,
    disable_proxy_modes_tracing,
    is_draw,
    is_in_place,
    trace_graph,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_unflatten,
)
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.infer.tracing.draws import Draws, Hole, draw_each, forget_draws, is_supported, note_draws
from pyrodgm.infer.tracing.graph import UntraceableError, trace
from pyrodgm.infer.tracing.unseen_effects import require_fixed_shape

aten = torch.ops.aten

# A view of what is contiguous for one model need not be one of a stack.
REPLACED: dict[Any, Callable[..., Any]] = {
    aten.view.default: torch.reshape,
    aten._unsafe_view.default: torch.reshape,  # noqa: SLF001 - the name of an operator
}


class Stacked:
    """A tensor ``[models, *]`` that has a value for each model.

    Args:
        tensor: It.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class StackedFunction:
    """A function of one model, which may run Pyro programs, as a graph for several of one shape.

    Each model draws from a generator of its own what the function would draw for it alone. Otherwise the operations are
    those of the function with one more dimension, by ``torch.func.vmap``.

    Args:
        function: Takes tensors, in lists, tuples and dictionaries as they like, and gives such.
        one: Arguments for one model, of the shapes to come; in-place changes of them are undone by the caller.
        generators: One for each model.
        owners: As in :func:`~pyrodgm.infer.tracing.graph.trace`.

    Raises:
        UntraceableError: If the function cannot be traced, or an operation cannot be stacked; names it.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        one: tuple[Any, ...],
        generators: Sequence[Generator],
        owners: dict[str, Any] | None = None,
    ) -> None:
        self.generators = list(generators)
        leaves = tree_leaves(one)
        with fork_rng(next(x.device for x in leaves if isinstance(x, Tensor))), torch.enable_grad():
            graph, self.form = trace(function, one, owners=owners)
        self.keys: list[int] = []
        weakref.finalize(self, forget_draws, self.keys)
        stacked = [torch.stack([x.detach()] * len(self.generators)) if isinstance(x, Tensor) else x for x in leaves]
        states = [generator.get_state() for generator in self.generators]
        with torch.no_grad():
            self.graph = trace_graph(lambda *flat: self._run(graph, flat), stacked, None, require_fixed_shape)
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state)

    def __call__(self, *arguments: Any) -> Any:
        """The results for all models, ``[models, *]`` each, of arguments that are stacked so."""
        with torch.no_grad():
            return tree_unflatten(self.graph(*tree_leaves(arguments)), self.form)

    def _run(self, graph: GraphModule, flat: Sequence[Any]) -> tuple[Any, ...]:
        values: dict[Node, Any] = {}
        inputs = iter(flat)
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                value = next(inputs)
                values[node] = Stacked(value) if isinstance(value, Tensor) else value
            elif node.op == "get_attr":
                values[node] = operator.attrgetter(str(node.target))(graph)
            elif node.op == "output":
                return tuple(self._for_all(x) for x in _filled(node.args[0], values))
            else:
                args, kwargs = _filled(node.args, values), _filled(node.kwargs, values)
                try:
                    values[node] = self._apply(node.target, args, kwargs)
                except UntraceableError:
                    raise
                except Exception as error:
                    reason = str(error).strip().split("\n")[0]
                    raise UntraceableError(f"{node.target} cannot be stacked: {reason}") from error
                if changes_an_argument(node):
                    values[node.args[0]] = values[node]
        raise AssertionError("a graph has an output")

    def _apply(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if operation is operator.getitem:
            return args[0][args[1]]
        if is_draw(operation):
            return Stacked(self._draw(operation, args, kwargs))
        leaves, form = tree_flatten((args, kwargs))
        own = [x.tensor for x in leaves if isinstance(x, Stacked)]
        if not own:
            return operation(*args, **kwargs)
        if is_in_place(operation) and not isinstance(args[0], Stacked):
            args = (Stacked(torch.stack([args[0]] * len(self.generators))), *args[1:])
            return self._apply(operation, args, kwargs)
        if operation in TOGETHER and all(isinstance(x, Stacked) for x in args) and not kwargs:
            return Stacked(TOGETHER[operation](*(x.tensor for x in args)))
        forms: list[Any] = []
        operation = REPLACED.get(operation, operation)

        def call(*tensors: Tensor) -> tuple[Tensor, ...]:
            given = iter(tensors)
            filled = [next(given) if isinstance(x, Stacked) else x for x in leaves]
            inner, options = tree_unflatten(filled, form)
            results, result_form = tree_flatten(operation(*inner, **options))
            forms.append(([isinstance(x, Tensor) for x in results], result_form))
            return tuple(x for x in results if isinstance(x, Tensor))

        found = iter(torch.func.vmap(call)(*own))
        are_tensors, result_form = forms[-1]
        return tree_unflatten([Stacked(next(found)) if t else None for t in are_tensors], result_form)

    def _draw(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if not is_supported(operation):
            raise UntraceableError(f"{operation} cannot be drawn for several models in one graph")
        tensors: list[Tensor] = []

        def hole(x: Any) -> Any:
            if not isinstance(x, (Stacked, Tensor)):
                return x
            tensors.append(self._for_all(x))
            return Hole(len(tensors) - 1)

        arguments = tree_map(hole, args)
        with disable_proxy_modes_tracing(), fork_rng(self.generators[0].device):
            one = tree_map(lambda x: tensors[x.index][0].clone() if isinstance(x, Hole) else x, arguments)
            example: Tensor = operation(*one, **kwargs)
        draws = Draws(operation, arguments, kwargs, self.generators, example.shape, example.detach().new_empty(0))
        self.keys.append(note_draws(draws))
        return draw_each(tensors, self.keys[-1])

    def _for_all(self, x: Any) -> Any:
        if isinstance(x, Stacked):
            return x.tensor
        return torch.stack([x] * len(self.generators)) if isinstance(x, Tensor) else x


# What vmap makes of them is slower.
TOGETHER: dict[Any, Callable[..., Tensor]] = {
    aten.addmm.default: lambda bias, a, b: torch.baddbmm(bias.unsqueeze(1) if bias.dim() == 2 else bias, a, b),
    aten.mm.default: torch.bmm,
}


def _filled(arguments: Any, values: dict[Node, Any]) -> Any:
    """Arguments with the values of nodes in their place."""
    return tree_map(lambda x: values[x] if isinstance(x, Node) else x, arguments)
