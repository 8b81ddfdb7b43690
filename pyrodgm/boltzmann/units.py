"""Kinds of units: what a unit does under the field that the others put on it."""

import math
from abc import ABC, abstractmethod
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.boltzmann.energy import bernoulli_entropy, softplus
from pyrodgm.processes import independent_draws


def draw_bits(logits: Tensor, dim: int = -1) -> Tensor:
    """Independent draws in {0, 1}, in place of ``logits``; units lie along ``dim``."""
    return BITS.draw(logits, dim)


def _uniform(like: Tensor, dim: int) -> Tensor:
    """Numbers uniform in (0, 1), of the shape of ``like``, in its dtype or in float32 if that has more digits.

    On a CPU, where random words are dear, a number has 15 bits of its own, of which a word holds four. The lower bits
    are drawn for each place along ``dim`` and shared by all other dimensions: along ``dim`` numbers are independent,
    and the bits of two chains have a covariance of at most 2^-32, less than the rounding of their probabilities.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    eps = torch.finfo(dtype).eps  # 0 would turn on bits of any log-odds, and 1 turn them off
    if like.device.type != "cpu":
        return torch.empty_like(like, dtype=dtype).uniform_(eps / 4.0, 1.0 - eps / 2.0)
    count = like.numel()
    words = torch.empty(-(-count // 4), dtype=torch.int64, device="cpu").random_()  # their signs are not drawn
    own = words.bitwise_and_(0x7FFF7FFF7FFF7FFF).view(torch.int16)
    own = (own if count % 4 == 0 else own[:count]).view(like.shape)
    shape = [1] * like.dim()
    shape[dim] = like.shape[dim]
    with independent_draws(False):  # the chains of other processes share them too
        lower = torch.empty(shape, dtype=dtype, device="cpu").uniform_(eps / 4.0, 2.0**-15 - eps / 2.0)
    return torch.add(lower, own, alpha=2.0**-15)


class Units(ABC):
    r"""A kind of units: an exponential family whose natural parameter is the field of the others.

    .. math:: p(z_i \mid \theta) = h(z_i)\, e^{\theta^\top z_i - A(\theta)}

    Couplings and biases weigh the columns of a state; a unit takes ``width`` of them. Fields ``[*, columns]`` have them
    in their dimension ``dim``, where all columns of a unit lie side by side.

    Attributes:
        width: Columns of a unit.
        discrete: Whether the states can be counted.
        support: The constraint that states ``[*, columns]`` meet.
    """

    width: int = 1
    discrete: bool = True
    support: Any = constraints.independent(constraints.boolean, 1)

    @abstractmethod
    def log_partition(self, fields: Tensor, dim: int = -1) -> Tensor:
        """A of each unit in nats: ``dim`` has the units in place of their columns."""

    @abstractmethod
    def mean(self, fields: Tensor, dim: int = -1) -> Tensor:
        """E[z], of the shape of the fields."""

    @abstractmethod
    def entropy(self, fields: Tensor, dim: int = -1) -> Tensor:
        """Entropy of each unit relative to h, in nats."""

    @abstractmethod
    def noise(self, like: Tensor, dim: int = -1) -> Tensor:
        """The random numbers of a draw, of the shape of ``like``."""

    @abstractmethod
    def respond(self, fields: Tensor, noise: Tensor, dim: int = -1) -> Tensor:
        """The draws that random numbers make of the fields, which are overwritten."""

    def draw(self, fields: Tensor, dim: int = -1) -> Tensor:
        """Independent draws, of the shape and dtype of the fields, which are overwritten."""
        return self.respond(fields, self.noise(fields, dim), dim)

    @abstractmethod
    def fields_of(self, mean: Tensor) -> Tensor:
        """The fields at which units have a mean ``[*, columns]``, kept away from the ends of its range."""

    @abstractmethod
    def log_volume(self, columns: int) -> float:
        """A of all units at fields of 0, in nats: for discrete units the log of the number of states."""

    @abstractmethod
    def states(self, index: Tensor, columns: int, dtype: torch.dtype) -> Tensor:
        """The states ``[*, columns]`` of which ``index`` ``[*]`` is the number; of discrete units."""

    def log_reference(self, states: Tensor) -> Tensor:
        """Log h, ``[*]``: 0 for discrete units."""
        return states.new_zeros(states.shape[:-1])

    def activity(self, states: Tensor) -> Tensor:
        """One number a state, ``[*]``, that tells modes apart: the sum of the units."""
        return states.sum(-1)

    def relaxed_support(self) -> Any:
        """The constraint that relaxed states ``[*, columns]`` meet."""
        return constraints.independent(constraints.unit_interval, 1)

    def log2_states(self, columns: int) -> float:
        """The number of bits that have as many states; infinite where these cannot be counted."""
        return self.log_volume(columns) / math.log(2.0) if self.discrete else math.inf

    def head(self, columns: int) -> "Units":
        """The kind of the first columns."""
        return self

    def check_columns(self, name: str, columns: int) -> None:
        """Refuse a number of columns that is no whole number of units.

        Raises:
            ValueError: Names what has them.
        """
        if columns % self.width:
            raise ValueError(f"{name} must have a multiple of {self.width} columns for {self!r}, got {columns}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.width))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@final
class Bits(Units):
    r"""Units in {0, 1}.

    .. math:: A(\theta) = \log(1 + e^\theta), \qquad \mathbb E[z] = \sigma(\theta)

    Example:
        >>> Bits().mean(torch.zeros(3))
        tensor([0.5000, 0.5000, 0.5000])
    """

    def log_partition(self, fields: Tensor, dim: int = -1) -> Tensor:
        return softplus(fields)

    def mean(self, fields: Tensor, dim: int = -1) -> Tensor:
        return fields.sigmoid()

    def entropy(self, fields: Tensor, dim: int = -1) -> Tensor:
        return bernoulli_entropy(fields)

    def noise(self, like: Tensor, dim: int = -1) -> Tensor:
        return _uniform(like, dim)

    def respond(self, fields: Tensor, noise: Tensor, dim: int = -1) -> Tensor:
        return fields.sigmoid_().gt_(noise)

    def fields_of(self, mean: Tensor) -> Tensor:
        return mean.clamp(0.01, 0.99).logit()

    def log_volume(self, columns: int) -> float:
        return columns * math.log(2.0)

    def states(self, index: Tensor, columns: int, dtype: torch.dtype) -> Tensor:
        places = torch.arange(columns, device=index.device)
        return ((index.unsqueeze(-1) >> places) & 1).to(dtype)


@final
class Gaussian(Units):
    r"""Real units of variance 1 given the others: visible ones, for standardised data.

    .. math:: h(v) = \frac{e^{-v^2 / 2}}{\sqrt{2 \pi}}, \qquad A(\theta) = \tfrac12 \theta^2, \qquad
              v \mid \theta \sim N(\theta, 1)

    The energy stays linear in v, and h is no part of it: at an inverse temperature of 0 units are standard normal.
    log Z is that of the density relative to h.

    Source: Welling, Rosen-Zvi and Hinton (2004), "Exponential family harmoniums", NeurIPS.

    Example:
        >>> Gaussian().log_partition(torch.tensor([0.0, 2.0]))
        tensor([0., 2.])
    """

    discrete = False
    support = constraints.real_vector

    def log_partition(self, fields: Tensor, dim: int = -1) -> Tensor:
        return 0.5 * fields.square()

    def mean(self, fields: Tensor, dim: int = -1) -> Tensor:
        return fields

    def entropy(self, fields: Tensor, dim: int = -1) -> Tensor:
        return -0.5 * fields.square()

    def noise(self, like: Tensor, dim: int = -1) -> Tensor:
        return torch.randn_like(like)

    def respond(self, fields: Tensor, noise: Tensor, dim: int = -1) -> Tensor:
        return fields.add_(noise)

    def fields_of(self, mean: Tensor) -> Tensor:
        return mean.clone()

    def log_volume(self, columns: int) -> float:
        return 0.0

    def states(self, index: Tensor, columns: int, dtype: torch.dtype) -> Tensor:
        raise NotImplementedError("Gaussian units have no list of states")

    def log_reference(self, states: Tensor) -> Tensor:
        return (-0.5 * states.square() - 0.5 * math.log(2.0 * math.pi)).sum(-1)


BITS = Bits()


def require_units(**kinds: Any) -> None:
    """Refuse what is no kind of units.

    Raises:
        TypeError: Names the argument.
    """
    for name, kind in kinds.items():
        if not isinstance(kind, Units):
            raise TypeError(f"{name} must be Bits(), Potts(K) or Gaussian(), got {kind!r}")
