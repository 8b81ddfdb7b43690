"""One training step, for use in your own training loop."""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import pyro
import pyro.infer
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, finite_number, one_of, whole_number
from pyrodgm.infer.estimators.objective import check_objective
from pyrodgm.infer.tracing._compat import registers
from pyrodgm.infer.tracing.arguments import require_batch
from pyrodgm.infer.tracing.attributes import held
from pyrodgm.infer.tracing.capture import CapturedStep, is_capturable
from pyrodgm.infer.tracing.contexts import flushing_denormals, fork_rng, frozen_parts
from pyrodgm.infer.tracing.graph import (
    Context,
    LossGraph,
    LossModule,
    Player,
    Prepare,
    UntraceableError,
    as_it_is,
    nullcontext_of,
)
from pyrodgm.infer.tracing.inference_mode import ordinary, refuse_inference_tensors, with_gradients
from pyrodgm.infer.tracing.parameters import refusing_new_parameters
from pyrodgm.infer.training.attribute_changes import AttributeChanges
from pyrodgm.infer.training.parallel.shared_step import share_loss
from pyrodgm.infer.training.rehearsal import rehearse
from pyrodgm.processes import World, averaged_in
from pyrodgm.processes.collectives import step_sums

logger = logging.getLogger(__name__)

Key: TypeAlias = tuple[Any, ...]
Compile = Literal["auto", "eager", "traced", "compiled"]

MOST_GRAPHS = 64  # kept by one step; each has its own copy of the program's constants
COMPILE_AFTER = 20_000  # steps from which "auto" compiles: about where the time saved has paid for the compiler's


def check_compile(compile: str) -> None:  # noqa: A002
    """Raise ValueError for an unknown compile mode."""
    one_of("compile", compile, get_args(Compile))


def check_clip_grad_norm(clip_grad_norm: float | None) -> None:
    """Require a positive clipping norm."""
    if clip_grad_norm is not None:
        finite_number("clip_grad_norm", clip_grad_norm, above=0.0)


class TrainStep:
    """One optimiser step on the objective of a model/guide pair.

    Calling it with a batch (the arguments of ``model`` and ``guide``) updates the parameters and returns the loss a
    datum, a tensor ``[]`` in nats without gradient; nothing in it waits for the device. State that the program keeps in
    buffers must be updated in place.

    Args:
        pair: The module with ``model`` and ``guide``.
        objective: Any :class:`pyro.infer.ELBO` whose loss is a tensor; it is divided by the size of the batch.
        optimizer: Optimiser of the pair's parameters.
        clip_grad_norm: Largest Euclidean norm of the gradient of all that the optimiser has; no limit by default.
        compile: How the program runs. ``"eager"`` runs it through Pyro each time. ``"traced"`` runs it once for each
            shape of batch and then replays the tensor operations that it made: the same numbers, bit for bit.
            ``"compiled"`` compiles these. ``"auto"`` is ``"compiled"`` from 20,000 expected steps on and ``"traced"``
            below, where compiling would take longer than it saves. On a CUDA device a traced or compiled step is
            captured in a CUDA graph, optimiser included, if the optimiser is capturable.
        expected_steps: How often the step will be called, for ``"auto"``.
        prepare: Makes the tuple of arguments of ``model`` and ``guide`` from those of the call, as part of the step:
            picks rows of data that are on the device, say, and binarises them.
        context: Makes from the arguments of the call a context that model and guide run in:
            one that tells them of rows, say (:func:`pyrodgm.priors.training_rows`).
        world: The processes that share each batch, if there are several. Each gets the inputs for all of it, and
            ``prepare`` and ``context`` look at :func:`pyrodgm.processes.current_share`.
        scaler: Scales the loss, for layers in float16; leaves out steps whose gradients overflow, and is not captured.
        player: Chooses the parameters of the pair that the optimiser has, where there are two players; else all.

    It trains within ``torch.inference_mode`` too; what is no tensor raises TypeError, and no data ValueError.

    A program that cannot be traced runs eagerly, with one warning that names the reason and the site. A graph that
    cannot be compiled, for want of a C++ compiler say, runs uncompiled, with one warning too.

    Example:
        >>> import pyro.distributions as dist
        >>> from pyrodgm.infer import ELBO
        >>> class Pair(pyro.nn.PyroModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.loc = nn.Parameter(torch.zeros(()))
        ...     def model(self, x):
        ...         with pyro.plate("data", len(x)):
        ...             pyro.sample("x", dist.Normal(self.loc, 1.0), obs=x)
        ...     def guide(self, x):
        ...         pass
        >>> pair = Pair()
        >>> step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=0.5))
        >>> losses = [step(torch.ones(10)) for _ in range(20)]
        >>> round(pair.loc.item(), 3)
        1.0
    """

    def __init__(  # noqa: PLR0913 - independent of each other
        self,
        pair: nn.Module,
        objective: pyro.infer.ELBO,
        optimizer: torch.optim.Optimizer,
        clip_grad_norm: float | None = None,
        compile: Compile = "auto",  # noqa: A002
        expected_steps: int = 0,
        prepare: Prepare = as_it_is,
        context: Context = nullcontext_of,
        world: World | None = None,
        scaler: torch.amp.GradScaler | None = None,
        player: Player = nn.Module.parameters,
    ) -> None:
        if not isinstance(pair, nn.Module):
            raise TypeError(f"pair must be a module, got {pair!r}")
        refuse_inference_tensors(pair)
        check_objective(objective)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer must be a torch optimiser, got {optimizer!r}")
        callables(prepare=prepare, context=context, player=player)
        expected_steps = whole_number("expected_steps", expected_steps, 0)
        check_compile(compile)
        check_clip_grad_norm(clip_grad_norm)
        self.pair, self.objective, self.optimizer, self.clip_grad_norm = pair, objective, optimizer, clip_grad_norm
        automatic = "compiled" if expected_steps >= COMPILE_AFTER else "traced"
        self.mode = automatic if compile == "auto" else compile
        self.prepare, self._within, self.world, self.scaler, self.player = prepare, context, world, scaler, player
        self._gradients: dict[Key, Callable[..., Tensor]] = {}
        self._weights: dict[Key, float] = {}  # of the rows of this process in those of a batch
        self._captured: dict[Key, CapturedStep] = {}
        self._trained: tuple[bool, ...] = ()
        self.forget()

    def __call__(self, *inputs: Tensor) -> Tensor:
        with with_gradients(), flushing_denormals():
            inputs = ordinary(inputs)
            key = self._prepared(inputs)
            if key in self._captured:
                return self._captured[key](*inputs)
            loss = self._pooled(self._gradients[key](*inputs), self._weights[key])
            self.descend()
            return loss

    @with_gradients()
    def on_batches(self, batches: Iterable[tuple[Tensor, ...]]) -> Tensor:
        """One optimiser step on several batches, each run by itself; the loss per datum of all of them.

        The gradient is that of all data together, so that equal noise gives what one large batch would.
        """
        sums: dict[nn.Parameter, Tensor] = {}
        loss, total = torch.zeros(()), 0
        for inputs in map(ordinary, batches):
            key, size = self._prepared(inputs), len(inputs[0])
            with flushing_denormals():
                value = self._gradients[key](*inputs)
            loss, total = loss.to(value.device) + size * value, total + size
            grown = {p: size * p.grad for p in self._parameters if p.grad is not None}
            sums |= {p: sums[p] + grown[p] if p in sums else grown[p] for p in grown}
        for parameter, gradient in sums.items():
            parameter.grad = gradient / total
        loss = self._pooled(loss, self._weights[key])
        with flushing_denormals():
            self.descend()
        return loss / total

    @contextmanager
    def context(self, *inputs: Tensor) -> Iterator[None]:
        """The context that model and guide run in."""
        with self._within(*inputs), frozen_parts((*self._trained, self.player is nn.Module.parameters)):
            yield

    def forget(self) -> None:
        """Trace anew from the next call on; needed after the optimiser has got another state."""
        self._gradients.clear()
        self._captured.clear()
        self._modules, self._parameters = list(self.pair.modules()), list(self.pair.parameters())
        self._own = list(self.player(self.pair))
        self._registers = registers(self._modules)
        self._held = held(self._registers)
        self._changes = AttributeChanges({"": self.pair, "objective": self.objective})
        self._kl_weight = getattr(self.objective, "kl_weight", None)
        self._averaged = [] if self.world is None else averaged_in(self.pair)
        if self.scaler is not None:  # all graphs read the scale from here
            self._scale = self.scaler.scale(torch.ones((), device=self._parameters[0].device))

    def _prepared(self, inputs: tuple[Tensor, ...]) -> Key:
        """The key of the graph for these inputs and for what is frozen or in evaluation mode by now."""
        if held(self._registers) != self._held:  # one has been replaced
            self.forget()
        trained = tuple([p.requires_grad for p in self._parameters])
        if trained != self._trained:  # what has been frozen keeps no gradient to go on with
            self.optimizer.zero_grad(set_to_none=True)
            self._trained = trained
        modes = tuple([module.training for module in self._modules])
        require_batch(inputs)
        values = self._changes.current if self.mode == "eager" else self._values()
        key = (values, trained, modes, *((x.shape, x.stride(), x.dtype, x.device) for x in inputs))
        if key not in self._gradients:
            with fork_rng(inputs[0].device), self.context(*inputs), refusing_new_parameters(self.pair):
                rehearse(self.pair, self.objective, self.prepare(*inputs))
            self._changes.refresh()
            module = LossModule(self.pair, self.objective, self.prepare, self.context)
            module.player = self.player
            if self.world is not None:
                share_loss(module, inputs, self.world)
            module.loss_scale = None if self.scaler is None else self._scale
            self._weights[key] = module.weight
            self._gradients[key] = self._gradient(key, module, inputs)
        return key

    def _values(self) -> int:
        """A number for the values of attributes by now, which graphs have as constants."""
        if self._captured and getattr(self.objective, "kl_weight", None) is not self._kl_weight:
            self.forget()  # a captured step reads the old one
        number = self._changes.look(self.mode, self._gradients, self._weights, self._captured)
        if not self._changes.too_often:
            return number
        self.mode = self._changes.give_up(self.mode)
        self.forget()
        return self._changes.current

    def _gradient(self, key: Key, module: LossModule, inputs: tuple[Tensor, ...]) -> Callable[..., Tensor]:
        if self.mode == "eager":
            return partial(self._eager, module)
        if len(self._gradients) < MOST_GRAPHS:
            return self._trace(key, module, inputs)
        if len(self._gradients) == MOST_GRAPHS:
            warnings.warn(
                f"batches of more than {MOST_GRAPHS} shapes: further ones run eagerly; pad them to few shapes",
                stacklevel=4,
            )
        return partial(self._eager, module)

    def _trace(self, key: Key, module: LossModule, inputs: tuple[Tensor, ...]) -> Callable[..., Tensor]:
        try:
            graph = LossGraph(module, inputs, compiled=self.mode == "compiled")
        except UntraceableError as error:
            warnings.warn(f"this pair cannot be traced and runs eagerly: {error}", stacklevel=4)
            self.mode = "eager"
            return partial(self._eager, module)
        captured = self.scaler is None and is_capturable(self.optimizer, inputs)
        how = f"{self.mode}, captured in a CUDA graph" if captured else self.mode
        logger.info("training step on inputs %s: %s", [list(x.shape) for x in inputs], how)
        if captured:

            def update(*inputs: Tensor) -> Tensor:
                loss = self._pooled(graph(*inputs), module.weight)
                self.descend()
                return loss

            self._captured[key] = CapturedStep(update, self.pair, self.optimizer, inputs)
        return graph

    def _eager(self, module: LossModule, *inputs: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        self.pair.zero_grad(set_to_none=True)  # gradients of what the optimiser lacks would add up
        loss: Tensor = module(None, *inputs)
        alone = self.player is nn.Module.parameters  # else the other player's gradients are not wanted
        loss.backward(inputs=None if alone else [p for p in self.player(self.pair) if p.requires_grad])
        return loss.detach()

    def _pooled(self, loss: Tensor, weight: float) -> Tensor:
        """The loss per datum of the whole batch, not scaled; the gradients become those of it, scaled as they were.

        Averaged buffers become the mean of those of all processes, of which this one has a ``weight``.
        """
        if self.world is not None:
            trained = [p for p in self._own if p.grad is not None]
            own = [weight * buffer for buffer in self._averaged]
            loss, *sums = step_sums([loss, *own, *(p.grad for p in trained if p.grad is not None)])
            for buffer, mean in zip(self._averaged, sums, strict=False):
                buffer.copy_(mean)
            for parameter, gradient in zip(trained, sums[len(own) :], strict=True):
                parameter.grad = gradient
        return loss if self.scaler is None else loss / self._scale

    def descend(self) -> None:
        """One step of the optimiser along gradients that are there, clipped."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if self.clip_grad_norm is not None:
            own = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(own, self.clip_grad_norm)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self._scale.copy_(self.scaler.scale(torch.ones_like(self._scale)))
