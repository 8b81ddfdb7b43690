"""Values of a site in a datum's order: the data first, then the other plates, then the event."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from pyrodgm.infer.estimators.reading import plates
from pyrodgm.infer.estimators.sites import Site
from pyrodgm.infer.tracing.program_error import ProgramError


def in_data_plate(site: Site, count: int) -> bool:
    """Whether a site lies in the plate over ``count`` data, which is that at dimension -1."""
    return any(frame.dim == -1 and frame.size == count for frame in plates(site))


def require_data_plate(sites: Iterable[Site], count: int) -> list[Site]:
    """The sites in the plate over ``count`` data; others are the same for all data.

    Raises:
        ProgramError: If there are sites, but none in it; names one.
    """
    sites = list(sites)
    inside = [site for site in sites if in_data_plate(site, count)]
    if sites and not inside:
        raise ProgramError(sites[0]["name"], f"lies outside the data plate, of size {count} at dimension -1")
    return inside


def data_first(site: Any, value: Tensor, before: int = 0) -> Tensor:
    """Values ``[*plates, N, *event]`` of a site in the data plate as ``[N, *plates, *event]``.

    Dimensions of plates that the site is not in are dropped. The ``before`` leftmost dimensions stay where they are.
    """
    batch_shape = value.shape[: value.dim() - site["fn"].event_dim]
    unused = _unused(site, batch_shape, before)
    return value.squeeze(unused).movedim(len(batch_shape) - 1 - len(unused), before)


def has_rows(site: Any, value: Tensor) -> bool:
    """Whether values of a site in the data plate have as many dimensions as :func:`data_first` gives them."""
    batch_shape = site["fn"].batch_shape
    return value.dim() == len(batch_shape) - len(_unused(site, batch_shape, 0)) + site["fn"].event_dim


def data_last(site: Any, value: Tensor) -> Tensor:
    """What undoes :func:`data_first`; values of another number of dimensions are left as they are."""
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
    """The dimensions left of the data that belong to no plate of the site."""
    own = {len(batch_shape) + frame.dim for frame in plates(site)}
    return [dim for dim in range(before, len(batch_shape) - 1) if dim not in own and batch_shape[dim] == 1]
