"""A Pyro program as one flat graph of tensor operations."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pyro
import pyro.infer
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import GraphModule

from pyrodgm.errors import PyrodgmError
from pyrodgm.infer.tracing._compat import (
    TreeSpec,
    lazy_clone,
    trace_graph,
    tree_flatten,
    tree_leaves,
    tree_unflatten,
)
from pyrodgm.infer.tracing.allocations import large_blocks_mapped
from pyrodgm.infer.tracing.arguments import Batch
from pyrodgm.infer.tracing.attributes import watching
from pyrodgm.infer.tracing.compiled import FOR_THE_COMPILER, Compiled
from pyrodgm.infer.tracing.contexts import fork_rng, loss_per_datum
from pyrodgm.infer.tracing.one_hot import TraceableOneHot
from pyrodgm.infer.tracing.unseen_effects import OnlyOperations, require_fixed_shape
from pyrodgm.processes import register_state

Prepare = Callable[..., Batch]
Context = Callable[..., AbstractContextManager[Any]]
Player = Callable[[nn.Module], Iterable[nn.Parameter]]


class UntraceableError(PyrodgmError, RuntimeError):
    """A program whose operations depend on the values of tensors, or that leaves tensors, cannot be traced."""


def flatten(
    function: Callable[..., Any], inputs: tuple[Any, ...], compiled: bool = False, owners: dict[str, Any] | None = None
) -> Callable[..., Any]:
    """Trace ``function``, which may run Pyro programs, into one graph of tensor operations.

    Args:
        function: Takes ``inputs`` and gives back tensors, either in lists, tuples and dictionaries as they like.
        inputs: What to run it on; later calls take inputs of the same shapes.
        compiled: Whether PyTorch's compiler compiles the graph, with PyTorch's eager random numbers. Where that fails
            (for want of a C++ compiler, say) the graph runs uncompiled, with a warning that names the reason.
        owners: By name, the objects whose attributes the function reads and must not change.

    Raises:
        UntraceableError: If it cannot be traced, changes attributes, or draws random numbers that are not PyTorch's;
            names the reason and the site.
    """
    graph, form = trace(function, inputs, compiled, owners)
    run = Compiled(graph) if compiled else graph
    return lambda *inputs: tree_unflatten(run(*tree_leaves(inputs)), form)


def trace(
    function: Callable[..., Any],
    inputs: tuple[Any, ...],
    for_compiler: bool = False,
    owners: dict[str, Any] | None = None,
) -> tuple[GraphModule, TreeSpec]:
    """The graph of a function of flat inputs, and the form of its flat results; as :func:`flatten`."""
    watcher, only_operations = _Watcher(), OnlyOperations()
    leaves, form = tree_flatten(inputs)
    result_forms: list[TreeSpec] = []

    def flat(*leaves: Any) -> tuple[Any, ...]:
        results, result_form = tree_flatten(function(*tree_unflatten(leaves, form)))
        only_operations.require_same_state()
        result_forms.append(result_form)
        return tuple(results)

    try:
        with watching(owners or {}) as found, watcher, TraceableOneHot(), only_operations, large_blocks_mapped():
            graph = trace_graph(flat, leaves, FOR_THE_COMPILER if for_compiler else None, require_fixed_shape)
    except UntraceableError:
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UntraceableError(f"{type(error).__name__} at or after site '{watcher.site}': {reason}") from error
    if found:
        raise UntraceableError(found[0])
    return graph, result_forms[-1]


def nullcontext_of(*inputs: Tensor) -> AbstractContextManager[None]:
    """A context that does nothing, whatever the inputs."""
    return nullcontext()


def as_it_is(*inputs: Tensor) -> tuple[Tensor, ...]:
    """The inputs as the arguments of the programs."""
    return inputs


class LossModule(nn.Module):
    """The objective of a pair as a module: ``forward(kl_weight, *inputs)`` is the loss a datum, a tensor ``[]``.

    ``prepare`` makes the arguments of the programs from the inputs; ``context`` makes from them what these run in.
    ``around`` makes what both run in, and ``weight`` is a factor of the loss: with them it is a part of a larger one.
    ``loss_scale`` is a further factor, a tensor that may change. ``player`` chooses the parameters that it trains, but
    for frozen ones.
    """

    around: Context
    weight = 1.0
    loss_scale: Tensor | None

    def __init__(
        self,
        pair: nn.Module,
        objective: pyro.infer.ELBO,
        prepare: Prepare,
        context: Context,
    ) -> None:
        super().__init__()
        self.pair, self.objective, self.prepare, self.context = pair, objective, prepare, context
        self.around = nullcontext_of
        self.player: Player = nn.Module.parameters
        register_state(self, "replicated", "loss_scale", None)

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that get a gradient, by name."""
        own = {id(parameter) for parameter in self.player(self.pair)}
        return {name: p for name, p in self.named_parameters() if p.requires_grad and id(p) in own}

    def forward(self, kl_weight: Tensor | None, *inputs: Tensor) -> Tensor:
        with self._weighted(kl_weight), pyro.validation_enabled(False), self.around(*inputs):
            batch = self.prepare(*inputs)
            with self.context(*inputs):
                loss = loss_per_datum(self.pair, self.objective, batch)
        loss = loss if self.weight == 1.0 else self.weight * loss
        return loss if self.loss_scale is None else self.loss_scale * loss

    @contextmanager
    def _weighted(self, kl_weight: Tensor | None) -> Iterator[None]:
        """Context in which the objective has this weight, if one is given."""
        own = getattr(self.objective, "kl_weight", None)
        if kl_weight is not None:
            self.objective.kl_weight = kl_weight
        try:
            yield
        finally:
            if kl_weight is not None:
                self.objective.kl_weight = own


class LossFunction:
    """Loss and gradients of a pair as a function of all tensors that it holds.

    Args:
        module: The objective of the pair.

    Attributes:
        trained: The parameters with a gradient, by name.
        fixed: All other parameters, and the buffers.
    """

    def __init__(self, module: LossModule) -> None:
        self.module = module
        self.trained = module.trained()
        self.fixed = {name: p.detach() for name, p in module.named_parameters() if name not in self.trained}
        self.fixed |= dict(module.named_buffers())
        self.places = _places(module)

    def __call__(
        self, values: list[Tensor], fixed: dict[str, Tensor], kl_weight: Tensor | None, inputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, list[Tensor | None]]:
        leaves = [value.detach().requires_grad_() for value in values]
        loss = self.loss(leaves, fixed, kl_weight, inputs)
        return loss.detach(), list(torch.autograd.grad(loss, leaves, allow_unused=True))

    def loss(
        self, values: list[Tensor], fixed: dict[str, Tensor], kl_weight: Tensor | None, inputs: tuple[Tensor, ...]
    ) -> Tensor:
        """The loss alone."""
        named = {**dict(zip(self.trained, values, strict=True)), **fixed}
        state = {place: named[name] for place, name in self.places.items()}
        loss: Tensor = functional_call(self.module, state, (kl_weight, *inputs), tie_weights=False)
        for place, name in self.places.items():
            if state[place] is not named[name]:  # functional_call leaves there what it found at the end
                place = place.removeprefix("pair.")
                raise UntraceableError(f"it replaces '{place}', where a graph follows what is changed in place")
        return loss

    @property
    def owners(self) -> dict[str, Any]:
        """What holds the attributes that the programs read."""
        return {"": self.module.pair, "objective": self.module.objective}


class LossGraph:
    """Loss and gradients of a pair on batches of one shape, traced once through Pyro's own execution.

    The graph takes parameters, buffers and the objective's ``kl_weight`` anew each time, so that it goes on working as
    they change; buffers that the program updates in place (running statistics, persistent chains) advance inside.

    Args:
        module: The objective of the pair.
        inputs: Tensors with the shapes of the inputs to come.
        compiled: Whether ``torch.compile`` compiles the graph.

    Raises:
        UntraceableError: If the program cannot be traced; names the reason and the site.
    """

    def __init__(self, module: LossModule, inputs: tuple[Tensor, ...], compiled: bool = False) -> None:
        self.objective, self.function = module.objective, LossFunction(module)
        trained, fixed = self.function.trained, self.function.fixed
        # aliases without gradient: the optimiser's updates in place show in them
        self.trained, self.values, self.fixed = trained, [p.detach() for p in trained.values()], fixed
        # tracing runs the program: on copies of its state, so that nothing has happened before the first step
        copies = {name: lazy_clone(value) for name, value in fixed.items()}
        with fork_rng(inputs[0].device), torch.enable_grad():
            self.run = flatten(
                self.function, (self.values, copies, self._kl_weight, inputs), compiled, self.function.owners
            )

    @property
    def _kl_weight(self) -> Tensor | None:
        weight = getattr(self.objective, "kl_weight", None)
        return weight if isinstance(weight, Tensor) else None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Set the gradients of the parameters; returns the loss a datum, a tensor ``[]`` in nats."""
        with torch.no_grad():
            loss, gradients = self.run(self.values, self.fixed, self._kl_weight, inputs)
        for parameter, gradient in zip(self.trained.values(), gradients, strict=True):
            parameter.grad = gradient
        return loss


def _places(module: nn.Module) -> dict[str, str]:
    """The name of the tensor in each place of a module: tied tensors are in several.

    A submodule that is registered twice is named once: ``functional_call`` would take what it has put into it under
    the one name for what was there under the other, and leave it there.
    """
    named = [*module.named_parameters(), *module.named_buffers()]
    names = {id(tensor): name for name, tensor in named}
    places: dict[str, str] = {}
    for prefix, part in module.named_modules():
        own = [
            *part.named_parameters(prefix, recurse=False, remove_duplicate=False),
            *part.named_buffers(prefix, recurse=False, remove_duplicate=False),
        ]
        places |= {place: names[id(tensor)] for place, tensor in own}
    return places


class _Watcher(Messenger):
    """Remembers the sample site that a program has come to."""

    site = "none"

    def _pyro_sample(self, msg: Any) -> None:
        self.site = msg["name"]
