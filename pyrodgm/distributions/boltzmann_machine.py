"""The bipartite Boltzmann machine as a distribution."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm import boltzmann
from pyrodgm.boltzmann import FAST_UNITS, MAX_UNITS, Moments

SWEEPS = 10  # Gibbs sweeps between a chain and a draw, which decorrelate draws that start from the same chain


class _Sums:
    """The exact sums of a machine, done when first asked for and after its parameters have changed in place."""

    def __init__(self, given: tuple[Tensor, Tensor, Tensor]) -> None:
        self.given = given
        self._kept: dict[Any, tuple[list[int], Any]] = {}

    @torch.no_grad()
    def _once(self, compute: Callable[..., Any]) -> Any:
        versions = [0 if t.is_inference() else t._version for t in self.given]
        if compute not in self._kept or self._kept[compute][0] != versions:
            self._kept[compute] = versions, compute(*self.given)
        return self._kept[compute][1]

    @property
    def log_partition(self) -> Tensor:
        return self._once(boltzmann.exact_log_partition)

    @property
    def moments(self) -> Moments:
        return self._once(boltzmann.exact_moments)


class BoltzmannMachine(TorchDistribution):
    r"""Distribution over {0, 1} of left and right units that depend on each other across the sides alone.

    .. math:: p(z) = \frac{e^{-E(z)}}{Z}, \qquad -E(z) = l^\top W r + b^\top l + c^\top r, \qquad z = [l, r]

    With nothing else given, log Z and its gradient are exact sums over the states of the smaller side, which may have
    up to 22 units. For larger machines ``log_partition`` gives the value and ``moments`` the gradient of log Z, as
    persistent chains or a population estimate them. The gradient then reaches W, b and c through ``log_prob`` as in any
    distribution; second derivatives of log Z are not known.

    Draws are exact for machines of that size, or up to 16 units if there are ``chains``. Otherwise they are rows of
    these after ten more Gibbs sweeps or, with no chains, members of a new population by annealing.

    Args:
        weights: ``[*batch, L, R]``, real; W.
        left_bias: ``[*batch, L]``, real; b.
        right_bias: ``[*batch, R]``, real; c.
        log_partition: ``[*batch]``, in nats; log Z, or an estimate of it.
        moments: estimates of E[l r'], E[l] and E[r], the gradient of log Z.
        chains: left and right states ``[N, L]`` and ``[N, R]`` to draw from, for machines without batch dimensions.

    Raises:
        ValueError: the shapes do not fit; neither side has at most 22 units and ``log_partition`` is missing; or a
            gradient is asked for that only ``moments`` could give.

    Sources: Smolensky (1986); Younes (1989), Probability Theory and Related Fields 82, 625 (gradient).

    >>> machine = BoltzmannMachine(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
    >>> machine.log_prob(torch.ones(5))  # 5 log(1/2)
    tensor(-3.4657)
    """

    arg_constraints = {  # noqa: RUF012
        "weights": constraints.independent(constraints.real, 2),
        "left_bias": constraints.real_vector,
        "right_bias": constraints.real_vector,
    }
    support = constraints.independent(constraints.boolean, 1)

    def __init__(
        self,
        weights: Tensor,
        left_bias: Tensor,
        right_bias: Tensor,
        *,
        log_partition: Tensor | None = None,
        moments: Moments | None = None,
        chains: tuple[Tensor, Tensor] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        boltzmann.check_parameters(weights, left_bias, right_bias)
        if log_partition is None and not boltzmann.can_enumerate(weights):
            raise ValueError(
                "log_partition must be given for a machine whose sides both have more than "
                f"{boltzmann.MAX_UNITS} units, got weights {list(weights.shape)}"
            )
        batch_shape = torch.broadcast_shapes(weights.shape[:-2], left_bias.shape[:-1], right_bias.shape[:-1])
        if chains is not None and batch_shape:
            raise ValueError(f"chains need a machine without batch dimensions, got {list(batch_shape)}")
        self._log_partition, self._moments, self._chains = log_partition, moments, chains
        self._sums = _Sums((weights, left_bias, right_bias))
        self._set(batch_shape, (weights, left_bias, right_bias))
        super().__init__(batch_shape, torch.Size([sum(weights.shape[-2:])]), validate_args=validate_args)

    def _set(self, batch_shape: torch.Size, given: tuple[Tensor, Tensor, Tensor]) -> None:
        # The arithmetic runs on the tensors as given: one matrix serves all rows of a batch.
        self._given = given
        self.weights = given[0].expand(batch_shape + given[0].shape[-2:])
        self.left_bias = given[1].expand(batch_shape + given[1].shape[-1:])
        self.right_bias = given[2].expand(batch_shape + given[2].shape[-1:])

    def expand(self, batch_shape: Any, _instance: Any = None) -> "BoltzmannMachine":
        new = self._get_checked_instance(BoltzmannMachine, _instance)
        batch_shape = torch.Size(batch_shape)
        new._log_partition, new._moments, new._chains = self._log_partition, self._moments, self._chains
        new._sums = self._sums
        new._set(batch_shape, self._given)
        super(BoltzmannMachine, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        """W, b and c as they were given, before any ``expand``."""
        return self._given

    def split(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """The left part ``[*, L]`` and the right part ``[*, R]`` of ``value`` ``[*, L + R]``."""
        left, right = value.split(self._given[0].shape[-2:], -1)
        return left, right

    @property
    def log_partition(self) -> Tensor:
        """Log Z in nats, ``[*batch]`` as the parameters were given, with its gradient."""
        value = self._sums.log_partition if self._log_partition is None else self._log_partition
        value = torch.as_tensor(value).to(self._given[0])
        if not torch.is_grad_enabled() or value.requires_grad or not any(t.requires_grad for t in self._given):
            return value
        if self._moments is None and not boltzmann.can_enumerate(self._given[0]):
            raise ValueError("moments must be given for the gradient of a log_partition that has none of its own")
        return boltzmann.attach_moments(value, *self._given, self._moments or self._sums.moments)

    def negative_energy(self, value: Tensor) -> Tensor:
        """-E ``[*]`` of states ``[*, L + R]``; of means of independent units, the expectation of -E."""
        return boltzmann.negative_energy(*self._given, *self.split(value))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        result = self.negative_energy(value) - self.log_partition
        return result.expand(torch.broadcast_shapes(result.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        weights, batch = self._given[0], self._batch_as_given
        count = shape[:-1].numel()
        if batch:
            sample_shape = torch.Size(sample_shape)
            expanded = self.weights, self.left_bias, self.right_bias
            left, right = boltzmann.exact_samples(*expanded, sample_shape.numel())
        elif boltzmann.can_enumerate(weights, MAX_UNITS if self._chains is None else FAST_UNITS):
            left, right = boltzmann.exact_samples(*self._given, count)
        elif self._chains is not None:
            rows = torch.randint(len(self._chains[0]), (count,), device=weights.device)
            left, right = boltzmann.gibbs_sweeps(*self._given, self._chains[0][rows], SWEEPS)
        else:
            population = boltzmann.population_annealing(*self._given, max(count, 1024))
            rows = torch.randperm(len(population.left), device=weights.device)[:count]
            left, right = population.left[rows], population.right[rows]
        return torch.cat([left, right], -1).reshape(shape)

    @property
    def _batch_as_given(self) -> torch.Size:
        weights, left_bias, right_bias = self._given
        return torch.broadcast_shapes(weights.shape[:-2], left_bias.shape[:-1], right_bias.shape[:-1])

    @property
    def mean(self) -> Tensor:
        """Activities E[z] ``[*batch, L + R]``: exact, or those of ``moments`` where they were given."""
        if self._moments is None and not boltzmann.can_enumerate(self._given[0]):
            raise NotImplementedError(f"the mean of a machine of {list(self._given[0].shape)} units needs moments")
        moments = self._moments or self._sums.moments
        activity = torch.cat([moments.left, moments.right], -1)
        return activity.expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        mean = self.mean
        return mean * (1.0 - mean)
