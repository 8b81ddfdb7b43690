"""Many independent categorical variables side by side, as one-hot vectors."""

from typing import Any, TypeVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic.arguments import real_tensors
from pyrodgm.boltzmann import Potts
from pyrodgm.distributions.parameters import refuse_infinite

C = TypeVar("C", bound="CategoricalUnits")


class CategoricalUnits(TorchDistribution):
    """Base of the distributions of n variables of K states whose logits ``[*batch, n K]`` lie side by side.

    Args:
        logits: ``[*batch, n K]``, real.
        num_states: Number of states K, at least 2.

    Raises:
        TypeError: If ``logits`` is no tensor of floating-point numbers.
        ValueError: If its last dimension is no multiple of ``num_states``, or it is not finite (with validation on).
    """

    logits: Tensor

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012

    def __init__(self, logits: Tensor, num_states: int, *, validate_args: bool | None = None) -> None:
        self.states = Potts(num_states)
        real_tensors(logits=logits)
        if logits.dim() < 1 or not logits.shape[-1]:
            raise ValueError(f"logits must have shape [*batch, n K], got {list(logits.shape)}")
        self.states.check_columns("logits", logits.shape[-1])
        self.logits = logits
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=validate_args)
        refuse_infinite(self, logits=logits)

    @property
    def num_states(self) -> int:
        """Number of states K."""
        return self.states.width

    @property
    def log_probs(self) -> Tensor:
        """Log-probabilities of the states, ``[*batch, n K]``."""
        return self.states.grouped(self.logits).log_softmax(-1).flatten(-2)

    @property
    def probs(self) -> Tensor:
        """Probabilities of the states, ``[*batch, n K]``."""
        return self.states.mean(self.logits)

    def _expanded(self: C, batch_shape: Any, _instance: Any) -> C:
        new = self._get_checked_instance(type(self), _instance)
        batch_shape = torch.Size(batch_shape)
        new.states, new.logits = self.states, self.logits.expand(batch_shape + self.event_shape)
        super(CategoricalUnits, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args, new.has_rsample = self._validate_args, self.has_rsample
        return new


class LinearCategorical(CategoricalUnits):
    """Base of those whose log-density is linear in the value, and moments those of one-hot vectors."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (value * self.log_probs).sum(-1)

    @property
    def mean(self) -> Tensor:
        """Probabilities of the states, ``[*batch, n K]``."""
        return self.probs

    @property
    def variance(self) -> Tensor:
        """Variances of the one-hot vectors, ``[*batch, n K]``."""
        return self.probs * (1.0 - self.probs)


class FactorizedCategorical(LinearCategorical):
    r"""n independent categorical variables of K states, each a one-hot vector, side by side.

    .. math:: \log p(z) = \sum_{i, k} z_{ik} \log \mathrm{softmax}(\text{logits}_i)_k

    Args:
        logits: ``[*batch, n K]``, real; those of a variable side by side.
        num_states: Number of states K, at least 2.

    Raises:
        TypeError: ``logits`` is no tensor of floating-point numbers.
        ValueError: its last dimension is no multiple of ``num_states``, it is not finite, or a value is not one-hot
            (with validation on).

    >>> p = FactorizedCategorical(torch.zeros(5, 6), num_states=3)
    >>> p.log_prob(torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 1.0]))  # 2 log(1/3)
    tensor([-2.1972, -2.1972, -2.1972, -2.1972, -2.1972])
    """

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        return self.states.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> "FactorizedCategorical":
        return self._expanded(batch_shape, _instance)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.states.draw(self.logits.expand(self._extended_shape(sample_shape)).clone())
