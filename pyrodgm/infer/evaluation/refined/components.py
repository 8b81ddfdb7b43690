"""The component of a mixture prior that is most responsible for a point."""

from functools import singledispatch
from typing import Any

from torch import Tensor

from pyrodgm.distributions import DiagNormalMixture, IsotropicNormalMixture


@singledispatch
def most_responsible(fn: Any, value: Tensor) -> Tensor | None:
    """Location ``[*, D]`` of the component most responsible for ``value`` ``[*, D]``; None where there are none."""
    del fn, value
    return None


@most_responsible.register(DiagNormalMixture)
@most_responsible.register(IsotropicNormalMixture)
def _(fn: Any, value: Tensor) -> Tensor:
    index = fn.responsibilities(value).argmax(-1, keepdim=True).unsqueeze(-1)
    loc = fn.loc.expand(*value.shape[:-1], *fn.loc.shape[-2:])
    return loc.gather(-2, index.expand(*index.shape[:-1], value.shape[-1])).squeeze(-2)
