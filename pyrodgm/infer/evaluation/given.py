"""Fixed or transformed values for sample sites of a model (``given`` of :func:`~.predict.sample`)."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_tensor
from pyrodgm.infer.evaluation.per_datum import data_first, data_last, has_rows, in_data_plate
from pyrodgm.infer.tracing.contexts import unchanged

Given: TypeAlias = Mapping[str, Tensor | Callable[[Tensor], Tensor]]


class GivenValues(Messenger):
    """Messenger that sets sample sites to given values, or applies given functions to their draws, batch by batch.

    Args:
        given: Values or functions by the name of the site.

    Attributes:
        begin: Number of data in the batches before.
        count: Number of data in the batch.
        refusal: The error that stopped the program: a rejected value, or the exception of a given function.

    Raises:
        TypeError: If a value is neither a tensor nor a function.
        ValueError: If a value is not finite.
    """

    def __init__(self, given: Given | None) -> None:
        super().__init__()
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(f"given must be a dict from names of sites to values, got {given!r}")
        self.given, self.met, self.rows = dict(given or {}), set[str](), dict[str, int]()
        self.begin = self.count = 0
        self.refusal: Exception | None = None
        self.used: dict[str, tuple[Any, torch.dtype]] = {}  # site's distribution or draws' dtype; dtype of the value
        for name, value in self.given.items():
            if isinstance(value, Tensor):
                finite_tensor(_called(name), value)
            elif not callable(value):
                raise TypeError(f"{_called(name)} must be a tensor or a function, got {type(value).__name__}")

    def require_all(self) -> None:
        """Raise ValueError for a name that no site had."""
        for name in self.given:
            if name not in self.met:
                raise ValueError(f"given must be values of sample sites of the model, got {name!r}")

    def require_no_more(self) -> None:
        """Raise ValueError for a value with more rows than there were data."""
        for name, rows in self.rows.items():
            if rows > self.begin:
                raise _wrong_rows(name, rows, self.begin)

    def require_not(self, name: str) -> None:
        """Raise ValueError if the site to be drawn is given a value."""
        if name in self.given:
            raise ValueError(f"{_called(name)} must be of a site other than '{name}', whose draws are asked for")

    def require_dtypes(self, pair: nn.Module, device: torch.device, error: Exception) -> None:
        """After a program has failed: raise TypeError if a value's dtype differs from that of draws of its site."""
        for name, (drawn, dtype) in self.used.items():
            if not isinstance(drawn, torch.dtype):
                with unchanged(pair, device):
                    drawn = drawn.sample().dtype
            if dtype != drawn:
                message = f"{_called(name)} must be of dtype {drawn}, as draws of the site are, got {dtype}: {error}"
                raise TypeError(message) from error

    def _refuse(self, error: Exception) -> NoReturn:
        self.refusal = error  # kept because Pyro appends the shapes of the trace to the exception it raises
        raise error

    def _of_batch(self, site: Any, value: Tensor) -> Tensor:
        if not value.dim() or len(value) == 1 or not (in_data_plate(site, self.count) and has_rows(site, value)):
            return value  # the same for all data
        own = value[self.begin : self.begin + self.count]
        if len(own) < self.count:
            self._refuse(_wrong_rows(site["name"], len(value), self.begin + self.count))
        self.rows[site["name"]] = len(value)
        return own

    def _placed(self, site: Any, value: Tensor) -> Tensor:
        """The value in the site's layout; rejected if its shape does not broadcast to that of the site."""
        placed, fn = data_last(site, value), site["fn"]
        split = placed.dim() - fn.event_dim
        fits = split >= 0 and placed.shape[split:] == fn.event_shape and split <= len(fn.batch_shape)
        pairs = zip(reversed(placed.shape[: max(split, 0)]), reversed(fn.batch_shape), strict=False)
        if not (fits and all(n in (1, size) for n, size in pairs)) and not site["infer"].get("_deterministic"):
            whole = [*fn.batch_shape, *fn.event_shape]
            wanted = f"{whole}"
            if in_data_plate(site, self.count):
                rows = list(data_first(site, torch.empty(whole, device="meta")).shape)
                wanted = f"{rows}, or {[1, *rows[1:]]} for all data"
            self._refuse(ValueError(f"{_called(site['name'])} must have shape {wanted}, got {list(value.shape)}"))
        return placed

    def _pyro_sample(self, msg: Any) -> None:
        self.met.add(msg["name"])
        value = self.given.get(msg["name"])
        if isinstance(value, Tensor):
            self.used[msg["name"]] = msg["fn"], value.dtype
            msg["value"] = self._placed(msg, self._of_batch(msg, value))

    def _pyro_post_sample(self, msg: Any) -> None:
        change = self.given.get(msg["name"])
        if change is None or isinstance(change, Tensor):
            return
        name = _called(msg["name"])
        try:
            value = finite_tensor(f"the result of {name}", change(data_first(msg, msg["value"])))
        except Exception as error:
            error.add_note(f"{name} was called with a draw of its site, {list(msg['value'].shape)}")
            self._refuse(error)
        self.used[msg["name"]] = msg["value"].dtype, value.dtype
        msg["value"] = self._placed(msg, value)


def _called(name: str) -> str:
    return f"given['{name}']"


def _wrong_rows(name: str, rows: int, count: int) -> ValueError:
    return ValueError(f"{_called(name)} must have a row for each of the {count} data, or one for all, got {rows}")
