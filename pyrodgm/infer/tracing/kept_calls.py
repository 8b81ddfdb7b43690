"""Results of parts that are called with nothing, kept between calls where that changes nothing."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import nn

from pyrodgm.infer.tracing._compat import (
    TorchDispatchMode,
    get_call,
    has_hooks,
    is_draw,
    registers,
    set_call,
    version_of,
)
from pyrodgm.infer.tracing.attributes import Attributes, held, outside_randomness, same_randomness

_afresh: ContextVar[bool] = ContextVar("afresh", default=False)
GIVE_UP = 2  # calls in a row that changed something or were random: one alone may have brought state up to date
GIVE_UP_CHANGES = 4  # results in a row that served nobody before something changed


@contextmanager
def kept_calls(root: nn.Module) -> Iterator[None]:
    """Context in which submodules called with nothing (priors, say) keep their result as long as it would not change.

    No gradients flow to parameters. A result is kept if the call issued no Pyro statement but ``pyro.param``, drew no
    random number and changed no attribute, buffer or parameter; it is computed anew once a parameter, a buffer or
    another attribute of ``root`` has changed. The modules' ``forward`` stays in place, and modules with hooks are
    called each time.
    """
    inputs = _Inputs(root)
    with ExitStack() as stack:
        for module in root.modules():
            if _is_nullary(module):
                stack.callback(set_call(module, _Kept(inputs, module)))
        yield


@contextmanager
def afresh() -> Iterator[None]:
    """Context in which :func:`kept_calls` neither keeps nor gives a result: each part runs."""
    token = _afresh.set(True)
    try:
        yield
    finally:
        _afresh.reset(token)


class _Inputs:
    """What results may depend on: parameters, buffers and all other attributes of a whole pair."""

    def __init__(self, root: nn.Module) -> None:
        self.root, self.attributes = root, Attributes({})
        self.registers: list[dict[str, Any]] = []
        self.held: list[int] = []

    def key(self) -> tuple[Attributes, list[int]]:
        """What is the same as before if nothing has changed."""
        if not self.attributes.owners or held(self.registers) != self.held or self.attributes.have_changed():
            self.registers = registers(self.root.modules())
            self.held = held(self.registers)
            self.tensors = [*self.root.parameters(), *self.root.buffers()]
            self.attributes = Attributes({"": self.root})  # a new object, which tells it from those before
        return self.attributes, [*map(version_of, self.tensors)]


class _Kept:
    """The call of one module, with its result once it may be kept."""

    def __init__(self, inputs: _Inputs, module: nn.Module) -> None:
        self.inputs, self.call = inputs, get_call(module)
        self.key: tuple[Attributes, list[int]] | None = None
        self.result: Any = None
        self.misses, self.changes = 0, 0

    def __call__(self) -> Any:
        if self.misses == GIVE_UP or self.changes == GIVE_UP_CHANGES or _afresh.get():
            return self.call()
        key = self.inputs.key()
        if self.key is not None:
            if self.key[0] is key[0] and self.key[1] == key[1]:
                self.changes = 0
                return self.result
            self.changes += 1
        effects, statements, states = Randomness(), _Statements(), outside_randomness(key[0])
        with effects, statements, torch.no_grad():  # also where latents are differentiated
            result = self.call()
        after = self.inputs.key()
        changed = after[0] is not key[0] or after[1] != key[1]
        if effects.found or statements.found or changed or not same_randomness(states):
            self.misses += 1
        else:
            self.misses, self.key, self.result = 0, key, result
        return result


class Randomness(TorchDispatchMode):
    """Finds out whether an operation drew random numbers."""

    found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if is_draw(func):
            self.found = True
        return func(*args, **(kwargs or {}))


class _Statements(Messenger):
    """Finds out whether there was a Pyro statement that handlers act on."""

    found = False

    def _process_message(self, msg: Any) -> None:
        if msg["type"] != "param":
            self.found = True
        super()._process_message(msg)


def _is_nullary(module: nn.Module) -> bool:
    """Whether calling the module runs a ``forward`` without arguments and nothing else."""
    if isinstance(module, torch.jit.ScriptModule) or has_hooks(module):
        return False
    forward: Callable[..., Any] = module.forward
    return not inspect.signature(forward).parameters
