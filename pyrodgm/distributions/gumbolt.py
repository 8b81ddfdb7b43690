"""The Bernoulli and the Boltzmann machine of GumBolt: Concrete draws, log-probabilities of bits continued to [0, 1]."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyrodgm.distributions.boltzmann_machine import BoltzmannMachine
from pyrodgm.distributions.parameters import require_discrete, require_distributions
from pyrodgm.distributions.scalar import Scalar


class ContinuedBernoulli(Scalar):
    r"""Concrete draws in place of a bit, with the bit's own log-probability continued to them.

    .. math:: \zeta = \sigma\bigl(\beta (\text{logits} + \mathrm{logit}\, \rho)\bigr), \quad \rho \sim U(0, 1), \qquad
        \log q(\zeta) = \zeta \log q + (1 - \zeta) \log(1 - q)

    ``log_prob`` is not the density of the draws: it is the proxy that GumBolt puts into its bound, right where zeta is
    0 or 1. With :class:`ContinuedBoltzmann` as the prior it makes that bound in any estimator that samples divergences.

    Args:
        logits: ``[*batch]``, real; log-odds of the bit.
        beta: ``[*batch]``, positive; inverse temperature.

    Raises:
        ValueError: ``logits`` is not finite, ``beta`` is not positive, or a value is outside [0, 1] (with validation
        on).

    Source: Maddison, Mnih and Teh (2016), arXiv 1611.00712 (Concrete); Khoshaman and Amin (2018), GumBolt, arXiv
    1805.07349.

    >>> q = ContinuedBernoulli(torch.zeros(3), 10.0)
    >>> q.log_prob(torch.tensor([0.0, 0.5, 1.0]))
    tensor([-0.6931, -0.6931, -0.6931])
    """

    logits: Tensor
    beta: Tensor

    arg_constraints = {"logits": constraints.real, "beta": constraints.positive}  # noqa: RUF012
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor, beta: Tensor | float, *, validate_args: bool | None = None) -> None:
        super().__init__(logits, beta, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return value * logsigmoid(self.logits) + (1.0 - value) * logsigmoid(-self.logits)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        like = self.logits.expand(self._extended_shape(sample_shape))
        tiny = torch.finfo(like.dtype).tiny
        # The difference of two exponentials' logarithms is a logistic draw with both tails.
        one, two = (
            torch.empty_like(like, memory_format=torch.contiguous_format).exponential_().clamp(min=tiny)
            for _ in range(2)
        )
        return torch.sigmoid(self.beta * (self.logits + one.log() - two.log()))

    @property
    def mean(self) -> Tensor:
        """Probability of the bit, ``[*batch]``; for large beta also the mean of the draws."""
        return self.logits.sigmoid()

    @property
    def variance(self) -> Tensor:
        """Variance of the bit, ``[*batch]``."""
        return self.mean * (-self.logits).sigmoid()


class ContinuedBoltzmann(TorchDistribution):
    r"""A Boltzmann machine whose log-probability is continued from the bits to [0, 1], or from states to simplices.

    .. math:: \log p(\zeta) = -E(\zeta) - \log Z, \qquad Z = \sum_{z \in \{0, 1\}^D} e^{-E(z)}

    The energy is linear in each coordinate, so that its extremes are at bits and
    :math:`\int p(\zeta)\, d\zeta \le 1`. Draws are the machine's bits, or the states of Potts units.

    Args:
        machine: the machine, of event shape ``[D]``.

    Raises:
        ValueError: a value is outside [0, 1] (with validation on).

    Source: Khoshaman and Amin (2018), GumBolt, arXiv 1805.07349.

    >>> machine = BoltzmannMachine(torch.zeros(2, 3), torch.zeros(2), torch.zeros(3))
    >>> ContinuedBoltzmann(machine).log_prob(torch.full((5,), 0.3))
    tensor(-3.4657)
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, machine: BoltzmannMachine, *, validate_args: bool | None = None) -> None:
        require_distributions(machine=machine)
        require_discrete(machine)
        self.machine = machine
        super().__init__(machine.batch_shape, machine.event_shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Any:
        return self.machine.units.relaxed_support()

    def expand(self, batch_shape: Any, _instance: Any = None) -> "ContinuedBoltzmann":
        new = self._get_checked_instance(ContinuedBoltzmann, _instance)
        new.machine = self.machine.expand(batch_shape)
        super(ContinuedBoltzmann, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        result = self.machine.negative_energy(value) - self.machine.log_partition
        return result.expand(torch.broadcast_shapes(result.shape, self.batch_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.machine.sample(sample_shape)

    @property
    def mean(self) -> Tensor:
        return self.machine.mean

    @property
    def variance(self) -> Tensor:
        return self.machine.variance
