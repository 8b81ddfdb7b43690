"""Private names of PyTorch and Pyro that ``pyrodgm.infer`` needs; no other file of it has any."""

import copy
import linecache
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import get_ident
from typing import Any, TypeAlias
from weakref import finalize

import pyro.infer
import torch
from pyro.distributions.torch_distribution import MaskedDistribution
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.fx import GraphModule, Node, Proxy
from torch.fx._lazy_graph_module import _use_lazy_graph_module
from torch.fx.experimental import proxy_tensor
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing, make_fx
from torch.fx.graph_module import _loader
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_map, tree_unflatten

__all__ = [
    "OWN_NAMES",
    "SLOTS",
    "TRANSIENT",
    "UNSAVED",
    "OpOverload",
    "TorchDispatchMode",
    "TreeSpec",
    "adopt",
    "argument_names",
    "call_registers",
    "changes_an_argument",
    "compile_graph",
    "constrained_parameters",
    "disable_proxy_modes_tracing",
    "divide_by_norms",
    "does_more_than_it_returns",
    "empty_state",
    "get_call",
    "guess_max_plate_nesting",
    "has_hooks",
    "has_random_attributes",
    "hooks",
    "in_particle_plate",
    "is_draw",
    "is_in_place",
    "lazy_clone",
    "mask_of_distribution",
    "names_in_store",
    "node_of",
    "pickled_state",
    "registers",
    "set_call",
    "shares_memory",
    "trace_graph",
    "tree_flatten",
    "tree_leaves",
    "tree_map",
    "tree_unflatten",
    "version_of",
]

# Where a module keeps what it registers; functions below take such a state as a dictionary.
SLOTS = {"parameters": "_parameters", "buffers": "_buffers", "modules": "_modules"}
TRANSIENT = "_non_persistent_buffers_set"
UNSAVED = ("_compiled_call_impl",)

# What PyTorch and Pyro themselves keep in every module, apart from what Pyro draws or constrains.
OWN_NAMES = frozenset({*vars(nn.Module()), *UNSAVED, "_pyro_name", "_pyro_context"})

Decompositions: TypeAlias = dict[Any, Callable[..., Any]]
Look: TypeAlias = Callable[[Node], None]


def trace_graph(
    function: Callable[..., Any], leaves: list[Any], decompositions: Decompositions | None, look: Look
) -> GraphModule:
    """The tensor operations of ``function(*leaves)`` as a graph, those without a use left out.

    Python code is made of the graph when it first runs. ``look`` is called with each node that has a result, whose
    dtype is in its ``meta``.
    """
    trace = make_fx(function, decomposition_table=decompositions)
    with _use_lazy_graph_module(True):
        try:
            with _looking(look, described=False):
                graph = trace(*leaves)
        except KeyError as error:
            if error.args != ("val",):
                raise
            with _looking(look, described=True):  # an operator for control flow has looked for a description
                graph = trace(*leaves)
    for node in graph.graph.nodes:
        node.meta.clear()  # it holds tensors that tracing met
    graph.graph.eliminate_dead_code(does_more_than_it_returns)
    graph.recompile()
    finalize(graph, _forget_source, type(graph))
    return graph


def _forget_source(graph_class: type[GraphModule]) -> None:
    """Drop the source of a graph that is gone: PyTorch keeps it for ever, some kilobytes for each graph."""
    name = graph_class.forward.__code__.co_filename
    _loader.eval_cache.pop(name, None)
    linecache.cache.pop(name, None)


@contextmanager
def _looking(look: Look, described: bool) -> Iterator[None]:
    """In the context, and in this thread, tracing looks at each node, and describes tensors only if it is to.

    To describe each by a fake one of its shape and layout takes two thirds of the time of tracing, and graphs have no
    use for it. Fake tensors, which PyTorch's operators for control flow trace with, are described as ever.
    """
    describe, here = proxy_tensor.set_meta, get_ident()

    def describe_others(proxy: Proxy, value: Any) -> Proxy:
        if get_ident() != here:
            return describe(proxy, value)
        if described or type(value) not in (Tensor, nn.Parameter):
            describe(proxy, value)
        proxy.node.meta["dtype"] = getattr(value, "dtype", None)
        look(proxy.node)
        return proxy

    proxy_tensor.set_meta = describe_others  # type: ignore[assignment]
    try:
        yield
    finally:
        proxy_tensor.set_meta = describe


def lazy_clone(tensor: Tensor) -> Tensor:
    """A copy, which shares the memory of the tensor until one of the two is written to, where PyTorch can do that."""
    # captured graphs hold addresses; a write to a lazy clone of what torch.load has read ends the process
    if tensor.device.type != "cpu" or tensor.is_inference() or not tensor.untyped_storage().resizable():
        return tensor.clone()
    with suppress(RuntimeError):  # of memory that is not PyTorch's own
        return torch._lazy_clone(tensor.detach())
    return tensor.clone()


def shares_memory(tensor: Tensor) -> bool:
    """Whether a lazy clone of the tensor was made, and neither has been written to since."""
    return bool(torch._C._is_cow_tensor(tensor))  # type: ignore[attr-defined]


def node_of(tensor: Tensor) -> Node | None:
    """The node of a tensor in the graph that is being traced; None where it is of none, or its values are known."""
    mode = proxy_tensor.get_proxy_mode()
    slot: Any = None if mode is None else proxy_tensor.get_proxy_slot(tensor, mode.tracer, None)
    return None if slot is None or slot.constant is not None else slot.proxy.node


def does_more_than_it_returns(node: Node) -> bool:
    """Whether a node has to stay without a use: it changes an input, or moves on the random state."""
    drawn = isinstance(node.target, OpOverload) and is_draw(node.target)
    return drawn or changes_an_argument(node) or node.op in ("placeholder", "output")


def is_draw(func: Any) -> bool:
    """Whether an operation draws random numbers."""
    return torch.Tag.nondeterministic_seeded in func.tags


def is_in_place(func: Any) -> bool:
    """Whether an operation changes one of its arguments."""
    return func._schema.is_mutable


def changes_an_argument(node: Node) -> bool:
    """Whether a node of a graph is an operation in place."""
    return isinstance(node.target, OpOverload) and is_in_place(node.target)


def argument_names(func: Any) -> list[str]:
    """The names of the arguments of an operation, in order."""
    return [argument.name for argument in func._schema.arguments]


def compile_graph(graph: GraphModule, inputs: tuple[Any, ...]) -> Callable[..., Any]:
    """The graph compiled for inputs of this layout, with PyTorch's eager random numbers.

    PyTorch keeps it on disk, where later processes find it by its operations and layouts, without the tensors it holds.
    """
    import torch._inductor

    return torch._inductor.standalone_compile(
        GraphModule(graph, copy.deepcopy(graph.graph)),  # shares the tensors; the compiler changes what it gets
        list(inputs),
        dynamic_shapes="from_example_inputs",  # fixed, but with a record of shapes, without which nothing is kept
        options={"config_patches": {"fallback_random": True}},
        donate_graph_module=True,
    )


def divide_by_norms(gradients: list[Tensor], floor: float) -> None:
    """Divide each gradient, in place, by its Euclidean norm plus ``floor``; a few kernels for all of them."""
    torch._foreach_div_(gradients, torch._foreach_add(torch._foreach_norm(gradients), floor))


def guess_max_plate_nesting(
    elbo: pyro.infer.ELBO, programs: tuple[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Set ``elbo.max_plate_nesting`` to the depth of plates in a run of model and guide."""
    elbo._guess_max_plate_nesting(*programs, args, kwargs)


def in_particle_plate(elbo: pyro.infer.ELBO, program: Callable[..., Any]) -> Callable[..., Any]:
    """The program in a plate of ``elbo.num_particles`` particles, left of all others."""
    return elbo._vectorized_num_particles(program)


def empty_state(kind: type[nn.Module]) -> dict[str, Any]:
    """What an instance of a module class holds before its constructor has added anything."""
    return dict(vars(PyroModule() if issubclass(kind, PyroModule) else nn.Module()))


def pickled_state(module: nn.Module) -> dict[str, Any]:
    """What ``copy`` and ``pickle`` take from a module."""
    own = getattr(module, "__getstate__", None)
    return dict(own() if own is not None else vars(module))


def hooks(state: dict[str, Any]) -> dict[str, dict[int, Any]]:
    """Functions that PyTorch calls around the module, by the kind of hook."""
    return {name: held for name, held in state.items() if name.endswith("_hooks") and isinstance(held, dict)}


def constrained_parameters(state: dict[str, Any]) -> dict[str, Any]:
    """Names of the constrained parameters of a ``PyroModule``, each with its constraint and event dimension."""
    return state.get("_pyro_params", {})


def names_in_store(root: nn.Module) -> set[str]:
    """The names under which Pyro's parameter store knows the constrained parameters of a module and of its parts."""
    parts = [part for part in root.modules() if isinstance(part, PyroModule)]
    return {f"{part._pyro_name}.{name}".removeprefix(".") for part in parts for name in part._pyro_params}


def has_random_attributes(state: dict[str, Any]) -> bool:
    """Whether a ``PyroModule`` draws some of its attributes."""
    return bool(state.get("_pyro_samples"))


def adopt(parent: nn.Module) -> None:
    """Give the Pyro modules in a Pyro module their place in its tree of names."""
    if isinstance(parent, PyroModule):
        for name, child in list(vars(parent)[SLOTS["modules"]].items()):
            if isinstance(child, PyroModule):
                parent.add_module(name, child)


def get_call(module: nn.Module) -> Callable[..., Any]:
    """What calling the module runs: hooks and ``forward``, or what ``Module.compile`` made of them."""
    return module._compiled_call_impl or module._call_impl


def set_call(module: nn.Module, call: Callable[..., Any]) -> Callable[[], None]:
    """Let calls of the module run ``call``, as ``Module.compile`` does; returns what undoes it."""
    name = "_compiled_call_impl"
    before = module.__dict__.get(name)
    module.__dict__[name] = call

    def undo() -> None:
        module.__dict__.pop(name)
        if before is not None:
            module.__dict__[name] = before

    return undo


def has_hooks(module: nn.Module) -> bool:
    """Whether something else than ``forward`` happens at a call of the module."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def registers(modules: Iterable[nn.Module]) -> list[dict[str, Any]]:
    """Where some modules keep their parts and parameters; what is replaced there shows in :func:`held`."""
    return [register for module in modules for register in (module._modules, module._parameters)]


def call_registers(module: nn.Module) -> list[dict[str, Any]]:
    """Where a module keeps its buffers and what else runs at its call, unless it is a script."""
    registers: tuple[Any, ...] = (module._buffers, module._forward_hooks, module._forward_pre_hooks)
    return [register for register in registers if isinstance(register, dict)]


def version_of(tensor: Tensor) -> int:
    """How often the tensor was changed in place; 0 for one made in inference mode, which does not know."""
    return 0 if tensor.is_inference() else tensor._version


def mask_of_distribution(fn: Any) -> bool | Tensor:
    """The mask that ``fn.mask(...)`` put on a distribution; True for none."""
    return fn._mask if isinstance(fn, MaskedDistribution) else True
