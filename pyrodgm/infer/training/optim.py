"""Optimisers of the published systems that PyTorch does not have."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pyrodgm.arithmetic.arguments import finite_number
from pyrodgm.infer.tracing._compat import divide_by_norms


class AdamNormGrad(torch.optim.Adam):
    r"""Adam on gradients that are divided, one parameter tensor at a time, by their Euclidean norm.

    .. math:: g \leftarrow g / (\lVert g \rVert_2 + 10^{-7})

    The gradients are replaced in place. Arguments are those of :class:`torch.optim.Adam`.

    Source: Yu et al. (2017), arXiv 1707.04822, as used by Tomczak and Welling (2017), arXiv 1705.07120.

    Example:
        >>> w = torch.nn.Parameter(torch.zeros(3))
        >>> optimizer = AdamNormGrad([w], lr=0.1)
        >>> (100.0 * w.sum()).backward()
        >>> optimizer.step()
        >>> w.grad.norm().allclose(torch.ones(()))
        True
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if gradients:
            divide_by_norms(gradients, 1e-7)
        super().step()
        return loss


def decay_groups(pair: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    r"""Parameter groups of which the weights decay and the biases, and whatever else there is, do not.

    Weights are the parameters whose name ends in ``weight`` or ``weights``: kernels of dense layers, scales of
    normalisations, couplings of Boltzmann machines. With :class:`torch.optim.Adam` the decay is the gradient of
    :math:`\tfrac12 \text{weight\_decay}\, \lVert w \rVert^2` in the loss.

    Args:
        pair: Any module.
        weight_decay: The factor, not negative.

    Example:
        >>> groups = decay_groups(nn.Linear(3, 2), 1e-4)
        >>> [(group["weight_decay"], [list(p.shape) for p in group["params"]]) for group in groups]
        [(0.0001, [[2, 3]]), (0.0, [[2]])]
    """
    if not isinstance(pair, nn.Module):
        raise TypeError(f"pair must be a module, got {pair!r}")
    weight_decay = finite_number("weight_decay", weight_decay, least=0.0)
    weights: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in pair.named_parameters():
        (weights if name.endswith(("weight", "weights")) else others).append(parameter)
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


@dataclass(frozen=True)
class PiecewiseConstant:
    """A factor of the learning rate that changes at given shares of a run, for the ``lr_schedule`` of ``fit``.

    Args:
        shares: Shares of the run, rising, at which the factor changes.
        factors: One factor more than shares.

    Raises:
        ValueError: If the shares do not rise, or are not one fewer than the factors.

    Example:
        >>> schedule = PiecewiseConstant((0.02, 0.6), (0.1, 1.0, 0.33))
        >>> [schedule(share) for share in (0.0, 0.01, 0.02, 0.59, 0.6, 0.99)]
        [0.1, 0.1, 1.0, 1.0, 0.33, 0.33]
    """

    shares: tuple[float, ...]
    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("shares", "factors"):
            values = getattr(self, name)
            if not isinstance(values, Sequence) or isinstance(values, str):
                raise TypeError(f"{name} must be a sequence of numbers, got {values!r}")
            numbers = tuple(finite_number(f"{name}[{i}]", value, least=0.0) for i, value in enumerate(values))
            object.__setattr__(self, name, numbers)
        if len(self.factors) != len(self.shares) + 1:
            raise ValueError(f"factors must be one more than the {len(self.shares)} shares, got {len(self.factors)}")
        if list(self.shares) != sorted(set(self.shares)):
            raise ValueError(f"shares must rise, got {self.shares}")

    def __call__(self, share: float) -> float:
        return self.factors[sum(share >= s for s in self.shares)]


@dataclass(frozen=True)
class Cosine:
    r"""A factor of the learning rate that falls from 1 along half a cosine, for the ``lr_schedule`` of ``fit``.

    .. math:: e + (1 - e) \frac{1 + \cos(\pi s)}{2}

    Args:
        end: The factor e at the end of the run, in [0, 1].

    Raises:
        ValueError: If ``end`` is out of range.

    Source: Loshchilov and Hutter (2016), arXiv 1608.03983, eq. 5, without restarts.

    Example:
        >>> schedule = Cosine(0.5)
        >>> [schedule(share) for share in (0.0, 0.5, 1.0)]
        [1.0, 0.75, 0.5]
    """

    end: float = 0.0

    def __post_init__(self) -> None:
        finite_number("end", self.end, 0.0, 1.0)

    def __call__(self, share: float) -> float:
        return self.end + (1.0 - self.end) * (1.0 + math.cos(math.pi * share)) / 2.0
