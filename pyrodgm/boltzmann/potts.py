"""Units of several states."""

import math
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.boltzmann.supports import Grouped
from pyrodgm.boltzmann.units import Units


@final
class Potts(Units):
    r"""Units in one of K states, each a column that is 1 in that state and 0 otherwise.

    .. math:: A(\theta) = \log \sum_k e^{\theta_k}, \qquad \mathbb E[z] = \mathrm{softmax}(\theta)

    Args:
        num_states: Number of states K, at least 2. A field that is the same on all states changes nothing.

    Source: Potts (1952), Mathematical Proceedings of the Cambridge Philosophical Society 48, 106.

    Example:
        >>> Potts(3).draw(torch.tensor([0.0, 99.0, 0.0, 99.0, 0.0, 0.0]))
        tensor([0., 1., 0., 1., 0., 0.])
    """

    def __init__(self, num_states: int) -> None:
        self.width = whole_number("num_states", num_states, 2)

    def __repr__(self) -> str:
        return f"Potts({self.width})"

    @property
    def support(self) -> Any:
        return Grouped(constraints.one_hot, self.width)

    def relaxed_support(self) -> Any:
        return Grouped(constraints.simplex, self.width)

    def grouped(self, columns: Tensor, dim: int = -1) -> Tensor:
        """``[*, n K]`` as ``[*, n, K]``; with ``dim`` 0, ``[n K, *]`` as ``[n, K, *]``."""
        return columns.unflatten(dim, (-1, self.width))

    def log_partition(self, fields: Tensor, dim: int = -1) -> Tensor:
        return self.grouped(fields, dim).logsumexp(_states_dim(dim))

    def mean(self, fields: Tensor, dim: int = -1) -> Tensor:
        return self.grouped(fields, dim).softmax(_states_dim(dim)).reshape(fields.shape)

    def entropy(self, fields: Tensor, dim: int = -1) -> Tensor:
        logs = self.grouped(fields, dim).log_softmax(_states_dim(dim))
        return -(logs.exp() * logs).sum(_states_dim(dim))

    def noise(self, like: Tensor, dim: int = -1) -> Tensor:
        """Minus Gumbel noise: the log of exponential numbers."""
        return torch.empty_like(like).exponential_().clamp_(min=torch.finfo(like.dtype).tiny).log_()

    def respond(self, fields: Tensor, noise: Tensor, dim: int = -1) -> Tensor:
        largest = self.grouped(fields.sub_(noise), dim).argmax(_states_dim(dim), keepdim=True)
        drawn = torch.zeros_like(self.grouped(fields, dim)).scatter_(_states_dim(dim), largest, 1.0)
        return drawn.reshape(fields.shape)

    def fields_of(self, mean: Tensor) -> Tensor:
        return mean.clamp(min=0.01).log()

    def log_volume(self, columns: int) -> float:
        return columns // self.width * math.log(self.width)

    def activity(self, states: Tensor) -> Tensor:
        return self.grouped(states)[..., 0].sum(-1)

    def states(self, index: Tensor, columns: int, dtype: torch.dtype) -> Tensor:
        places = self.width ** torch.arange(columns // self.width, device=index.device)
        digits = index.unsqueeze(-1).div(places, rounding_mode="floor") % self.width
        return columns_of(digits, self.width, dtype)


def columns_of(numbers: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Numbers of states ``[*, n]`` as columns ``[*, n K]``; ``one_hot`` of PyTorch would look at the values."""
    return (numbers.unsqueeze(-1) == torch.arange(width, device=numbers.device)).flatten(-2).to(dtype)


def _states_dim(dim: int) -> int:
    """The dimension of the states of each unit once columns in ``dim`` are grouped."""
    return dim if dim < 0 else dim + 1
