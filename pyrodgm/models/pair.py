"""The base class of model/guide pairs."""

import itertools
from collections.abc import Mapping
from typing import Any

from pyro.nn import PyroModule

_serial = itertools.count()


class Pair(PyroModule):
    """Base of the pairs: a ``PyroModule`` with the methods ``model`` and ``guide``.

    Pyro keeps the parameters that :class:`pyro.infer.SVI` trains in one global store, by name, so two modules of one
    name share them unasked. A pair therefore has a name of its own, and so has each copy or unpickled twin of it.
    """

    def __init__(self) -> None:
        super().__init__(name=self._unique_name())

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__(state)
        self._pyro_name = self._unique_name()
        for name, module in self.named_modules():
            if name and isinstance(module, PyroModule):
                module._pyro_name = f"{self._pyro_name}.{name}"  # noqa: SLF001 - Pyro has no public way to rename

    @classmethod
    def _unique_name(cls) -> str:
        return f"{cls.__name__.lower()}{next(_serial)}"
