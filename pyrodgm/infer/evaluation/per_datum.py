"""Conversion of site values between Pyro's layout and the data-first layout ``[N, *plates, *event]``."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from pyrodgm.infer.estimators.reading import plates
from pyrodgm.infer.estimators.sites import Site
from pyrodgm.infer.tracing.program_error import ProgramError


def in_data_plate(site: Site, count: int) -> bool:
    """Whether a site lies in the data plate: a plate of size ``count`` at dimension -1."""
    return any(frame.dim == -1 and frame.size == count for frame in plates(site))


def require_data_plate(sites: Iterable[Site], count: int) -> list[Site]:
    """The sites in the data plate, of size ``count``; values of other sites are the same for all data.

    Raises:
        ProgramError: If there are sites but none lies in the data plate; names one.
    """
    sites = list(sites)
    inside = [site for site in sites if in_data_plate(site, count)]
    if sites and not inside:
        raise ProgramError(sites[0]["name"], f"lies outside the data plate, of size {count} at dimension -1")
    return inside


def data_first(site: Any, value: Tensor, before: int = 0) -> Tensor:
    """Move values ``[*plates, N, *event]`` of a site in the data plate to ``[N, *plates, *event]``.

    Dimensions of plates that the site is not in are dropped. The ``before`` leftmost dimensions stay in place.
    """
    batch_shape = value.shape[: value.dim() - site["fn"].event_dim]
    unused = _unused(site, batch_shape, before)
    return value.squeeze(unused).movedim(len(batch_shape) - 1 - len(unused), before)


def has_rows(site: Any, value: Tensor) -> bool:
    """Whether values of a site in the data plate have as many dimensions as results of :func:`data_first`."""
    batch_shape = site["fn"].batch_shape
    return value.dim() == len(batch_shape) - len(_unused(site, batch_shape, 0)) + site["fn"].event_dim


def data_last(site: Any, value: Tensor) -> Tensor:
    """The inverse of :func:`data_first`; values with another number of dimensions are returned unchanged."""
    batch_shape = site["fn"].batch_shape
    unused = _unused(site, batch_shape, 0)
    kept = len(batch_shape) - len(unused)
    if kept < 2 or not has_rows(site, value):
        return value
    value = value.movedim(0, kept - 1)
    for dim in unused:
        value = value.unsqueeze(dim)
    return value


def _unused(site: Any, batch_shape: Sequence[int], before: int) -> list[int]:
    """The dimensions of size 1 left of the data plate that belong to no plate of the site."""
    own = {len(batch_shape) + frame.dim for frame in plates(site)}
    return [dim for dim in range(before, len(batch_shape) - 1) if dim not in own and batch_shape[dim] == 1]
