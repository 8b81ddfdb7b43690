"""Divergences that are exact given a draw of some of the variables."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.distributions import kl_divergence

from pyrodgm.arithmetic.arguments import validated
from pyrodgm.distributions.parameters import require_distributions

Given = Callable[[Any, Any, Tensor], Tensor]
_REGISTRY: list[tuple[type, type, Given]] = []


def register_given(q: type, p: type) -> Callable[[Given], Given]:
    """Decorator of a function of ``(q, p, value)`` for distributions of these types; what comes later goes first."""

    def register(function: Given) -> Given:
        _REGISTRY.insert(0, (q, p, function))
        return function

    return register


def divergence_given(q: Any, p: Any, value: Tensor) -> Tensor:
    r"""An unbiased estimate of KL(q || p) that is exact in all but what it must take from a draw.

    .. math:: \mathbb E_{z \sim q}[D(q, p, z)] = \mathrm{KL}(q \,\|\, p)

    Where q is a chain of conditional distributions, the divergence of each link is exact given the links before it in
    ``value``. Elsewhere it is :func:`torch.distributions.kl_divergence`, and ``value`` is not looked at.

    Args:
        q: Distribution that ``value`` is a draw of, ``[*batch]``.
        p: The other distribution.
        value: A draw, ``[*batch, *event]``.

    Returns:
        ``[*batch]``, in nats.

    Raises:
        NotImplementedError: No divergence is registered.

    >>> import torch
    >>> from pyro.distributions import Normal
    >>> divergence_given(Normal(0.0, 1.0), Normal(1.0, 1.0), torch.zeros(()))
    tensor(0.5000)
    """
    require_distributions(q=q, p=p)
    validated(value=value)
    for first, second, function in _REGISTRY:
        if isinstance(q, first) and isinstance(p, second):
            return function(q, p, value)
    return kl_divergence(q, p)
