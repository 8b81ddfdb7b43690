"""What the estimators and the training loop ask of pairs, objectives and distributions."""

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

Program = Callable[..., Any]
Divergence = Callable[[Any, Any, Tensor], Tensor]


class ModelAndGuide(Protocol):
    """A pair of Pyro programs with the same arguments, usually an ``nn.Module``."""

    model: Program
    guide: Program


class Objective(Protocol):
    """A loss of a pair of programs, in nats summed over the data, as every :class:`pyro.infer.ELBO` has."""

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Any: ...


@runtime_checkable
class KLWeighted(Protocol):
    """An objective whose divergence is multiplied by ``kl_weight``, a tensor ``[]`` that a schedule updates."""

    kl_weight: Tensor


@runtime_checkable
class Stratified(Protocol):
    """A mixture that draws from each of its components."""

    def rsample_stratified(self) -> tuple[Tensor, Tensor]:
        """Draws ``[K, *batch, D]`` and weights ``[K, *batch]``."""
        ...


@cache
def is_stratified(kind: type) -> bool:
    """Whether distributions of a class are :class:`Stratified`; asked once for each class, as that is slow."""
    return issubclass(kind, Stratified)
