"""Results of parts that are called with nothing, kept between calls where that changes nothing."""

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from pyrodgm.infer.tracing._compat import TorchDispatchMode, get_call, has_hooks, set_call, version_of

_afresh: ContextVar[bool] = ContextVar("afresh", default=False)
GIVE_UP = 2  # calls in a row that changed something or were random: one alone may have brought state up to date


@contextmanager
def kept_calls(root: nn.Module) -> Iterator[None]:
    """Context in which submodules called with nothing (priors, say) keep their result as long as it would not change.

    No gradients flow to parameters. A result is kept if the call issued no Pyro statement but ``pyro.param``, drew no
    random number and changed no attribute, buffer or parameter; it is computed anew once a parameter or buffer of
    ``root`` has changed. The modules' ``forward`` stays in place, and modules with hooks are called each time.
    """
    with ExitStack() as stack:
        for module in root.modules():
            if _is_nullary(module):
                stack.callback(set_call(module, _Kept(root, module)))
        yield


@contextmanager
def afresh() -> Iterator[None]:
    """Context in which :func:`kept_calls` neither keeps nor gives a result: each part runs."""
    token = _afresh.set(True)
    try:
        yield
    finally:
        _afresh.reset(token)


class _Kept:
    """The call of one module, with its result once it may be kept."""

    def __init__(self, root: nn.Module, module: nn.Module) -> None:
        self.root, self.module, self.call = root, module, get_call(module)
        self.key: list[Any] = []
        self.result: Any = None
        self.misses = 0

    def __call__(self) -> Any:
        if self.misses == GIVE_UP or _afresh.get():
            return self.call()
        key = self._key()
        if self.key and _same(self.key, key):
            return self.result
        before, effects, statements = self._attributes(), _Randomness(), _Statements()
        with effects, statements, torch.no_grad():  # also where latents are differentiated
            result = self.call()
        if effects.found or statements.found or not _same(before, self._attributes()) or not _same(key, self._key()):
            self.misses += 1
        else:
            self.misses, self.key, self.result = 0, key, result
        return result

    def _key(self) -> list[Any]:
        """What the result may depend on: parameters and buffers of the whole pair."""
        tensors = [*self.root.parameters(), *self.root.buffers()]
        return [*tensors, *map(version_of, tensors)]

    def _attributes(self) -> list[Any]:
        """What a side effect may change: attributes of the part, and random numbers from outside of PyTorch."""
        values = [v for module in self.module.modules() for v in vars(module).values()]
        sizes = [len(v) for v in values if isinstance(v, (list, dict, set))]
        versions = [version_of(v) for v in values if isinstance(v, Tensor)]
        numpy_state: Any = np.random.get_state()
        return [*values, *sizes, *versions, hash(random.getstate()), numpy_state[1].tobytes(), numpy_state[2]]


class _Randomness(TorchDispatchMode):
    """Finds out whether an operation drew random numbers."""

    found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
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


def _same(a: list[Any], b: list[Any]) -> bool:
    """Whether two lists hold the same objects, or equal plain values."""
    plain = (int, float, str, bytes)
    return len(a) == len(b) and all(x is y or (isinstance(x, plain) and x == y) for x, y in zip(a, b, strict=True))
