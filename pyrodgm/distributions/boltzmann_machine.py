"""The Boltzmann machine as a distribution."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.boltzmann import (
    MAX_UNITS,
    MAX_WIDTH,
    BipartiteMachine,
    GraphMachine,
    Machine,
    Units,
    anneal_population,
)

_TOO_LARGE = f"whose layers both have more than {MAX_UNITS} units, or whose graph has a width above {MAX_WIDTH}"
SWEEPS = 10  # Gibbs sweeps between a chain and a draw, which decorrelate draws that start from the same chain


class _Sums:
    """The exact sums of a machine, done when first asked for and after its parameters have changed in place."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._kept: dict[Any, tuple[list[int], Any]] = {}

    @torch.no_grad()
    def _once(self, name: str, compute: Callable[[], Any]) -> Any:
        versions = [0 if t.is_inference() else t._version for t in self.machine.parameters]
        if name not in self._kept or self._kept[name][0] != versions:
            self._kept[name] = versions, compute()
        return self._kept[name][1]

    @property
    def log_partition(self) -> Tensor:
        return self._once("log_partition", self.machine.log_partition)

    @property
    def moments(self) -> tuple[Tensor, ...]:
        return self._once("moments", self.machine.exact_moments)


class BoltzmannMachine(TorchDistribution):
    r"""Distribution of units that depend on each other along the edges of a graph.

    .. math:: p(z) = \frac{e^{-E(z)}}{Z}, \qquad -E(z) = l^\top W r + b^\top l + c^\top r, \qquad z = [l, r]

    for two full layers of units in {0, 1}; on another graph, or of other units, the energy of a
    :class:`pyrodgm.boltzmann.Machine` in place of weights and biases. The columns of a Potts unit lie side by side,
    one of them 1; densities of Gaussian units are with respect to length.

    With nothing else given, log Z and its gradient are exact sums: over the states of the smaller layer, which may have
    up to 22 units, or by elimination on a graph of width up to 20. For larger machines ``log_partition`` gives the
    value and ``moments`` the gradient of log Z, as persistent chains or a population estimate them. The gradient then
    reaches the parameters through ``log_prob`` as in any distribution; second derivatives of log Z are not known.

    Draws need no log Z. They are exact for machines of that size, or up to 16 units in the smaller layer (width 12) if
    there are ``chains``. Otherwise they are rows of these after ten more Gibbs sweeps or, with no chains, members of a
    new population by annealing.

    Args:
        weights: ``[*batch, L, R]``, real; W. Or a machine, with which the biases are left out.
        left_bias: ``[*batch, L]``, real; b.
        right_bias: ``[*batch, R]``, real; c.
        log_partition: ``[*batch]``, in nats; log Z, or an estimate of it.
        moments: estimates of the gradient of log Z: E[l r'], E[l] and E[r]; on a graph, of couplings and biases.
        chains: states ``[N, n]`` to draw from, or left and right ones, for machines without batch dimensions.

    Raises:
        ValueError: the shapes do not fit; ``log_partition`` is asked for and neither given nor a feasible sum; or a
            gradient is asked for that only ``moments`` could give.

    Sources: Smolensky (1986); Younes (1989), Probability Theory and Related Fields 82, 625 (gradient).

    >>> machine = BoltzmannMachine(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
    >>> machine.log_prob(torch.ones(5))  # 5 log(1/2)
    tensor(-3.4657)
    >>> from pyrodgm.boltzmann import Graph
    >>> ring = Graph(4, [(0, 1), (1, 2), (2, 3), (3, 0)])
    >>> BoltzmannMachine(GraphMachine(ring, torch.ones(4), torch.zeros(4))).mean  # each unit favours its neighbours
    tensor([0.8253, 0.8253, 0.8253, 0.8253])
    """

    arg_constraints = {  # noqa: RUF012
        "weights": constraints.independent(constraints.real, 2),
        "left_bias": constraints.real_vector,
        "right_bias": constraints.real_vector,
    }

    def __init__(
        self,
        weights: Tensor | Machine,
        left_bias: Tensor | None = None,
        right_bias: Tensor | None = None,
        *,
        log_partition: Tensor | None = None,
        moments: tuple[Tensor, ...] | None = None,
        chains: Tensor | tuple[Tensor, ...] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        machine = _machine(weights, left_bias, right_bias)
        if chains is not None and machine.batch_shape:
            raise ValueError(f"chains need a machine without batch dimensions, got {list(machine.batch_shape)}")
        self._log_partition, self._moments = log_partition, moments
        self._chains = torch.cat(chains, -1) if isinstance(chains, tuple) else chains
        self._sums = _Sums(machine)
        self._set(machine, machine.batch_shape)
        super().__init__(machine.batch_shape, torch.Size([machine.num_units]), validate_args=validate_args)

    def _set(self, machine: Machine, batch_shape: torch.Size) -> None:
        # The arithmetic runs on the tensors as given: one matrix serves all rows of a batch.
        self.energy = machine
        expanded = machine.expand(batch_shape)
        if isinstance(expanded, BipartiteMachine):
            self.weights, self.left_bias, self.right_bias = expanded.parameters
        elif isinstance(expanded, GraphMachine):
            self.arg_constraints = {"couplings": constraints.real_vector, "biases": constraints.real_vector}
            self.couplings, self.biases = expanded.parameters

    @constraints.dependent_property(event_dim=1)
    def support(self) -> Any:
        return self.units.support

    @property
    def units(self) -> Units:
        """The kind of the units."""
        return self.energy.units

    def expand(self, batch_shape: Any, _instance: Any = None) -> "BoltzmannMachine":
        new = self._get_checked_instance(BoltzmannMachine, _instance)
        batch_shape = torch.Size(batch_shape)
        new._log_partition, new._moments, new._chains = self._log_partition, self._moments, self._chains
        new._sums = self._sums
        new._set(self.energy, batch_shape)
        super(BoltzmannMachine, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """W, b and c, or couplings and biases, as they were given, before any ``expand``."""
        return self.energy.parameters

    @property
    def log_partition(self) -> Tensor:
        """Log Z in nats, ``[*batch]`` as the parameters were given, with its gradient.

        Raises:
            ValueError: it was not given and is no feasible sum, or its gradient would need moments.
        """
        if self._log_partition is None and not self.energy.can_sum():
            raise ValueError(f"log_partition must be given for a machine {_TOO_LARGE}, got {self.energy}")
        value = self._sums.log_partition if self._log_partition is None else self._log_partition
        value = torch.as_tensor(value).to(self.parameters[0])
        if not torch.is_grad_enabled() or value.requires_grad or not any(t.requires_grad for t in self.parameters):
            return value
        if self._moments is None and not self.energy.can_sum():
            raise ValueError("moments must be given for the gradient of a log_partition that has none of its own")
        return self.energy.attach_moments(value, self._moments or self._sums.moments)

    def split(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """The left part ``[*, L]`` and the right part ``[*, R]`` of ``value`` ``[*, L + R]``, for two layers."""
        if not isinstance(self.energy, BipartiteMachine):
            raise ValueError(f"machine must have two layers to be split, got {self.energy}")
        return self.energy.split(value)

    def shifted(self, biases: Tensor) -> Machine:
        """The energy with ``biases`` ``[*, n]`` added to its own."""
        return self.energy.shifted(biases)

    def negative_energy(self, value: Tensor) -> Tensor:
        """-E ``[*]`` of states ``[*, n]``; of means of independent units, the expectation of -E."""
        return self.energy.negative_energy(value)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        result = self.negative_energy(value) - self.log_partition
        if not self.units.discrete:
            result = result + self.units.log_reference(value)
        return result.expand(torch.broadcast_shapes(result.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        count = shape[:-1].numel()
        if self.energy.batch_shape:
            z = self.energy.expand(self.batch_shape).exact_samples(torch.Size(sample_shape).numel())
        elif self.energy.can_sum(fast=self._chains is not None):
            z = self.energy.exact_samples(count)
        elif self._chains is not None:
            rows = torch.randint(len(self._chains), (count,), device=self._chains.device)
            z = self.energy.sweep(self._chains[rows], SWEEPS).states
        else:
            population = anneal_population(self.energy, max(count, 1024))
            z = population.states[torch.randperm(len(population.states), device=population.states.device)[:count]]
        return z.reshape(shape)

    @property
    def mean(self) -> Tensor:
        """Activities E[z] ``[*batch, n]``: exact, or those of ``moments`` where they were given."""
        if self._moments is None and not self.energy.can_sum():
            raise NotImplementedError(f"the mean of a machine {_TOO_LARGE} needs moments, got {self.energy}")
        moments = self._moments or self._sums.moments
        return torch.cat(moments[1:], -1).expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """Variances ``[*batch, n]`` of discrete units, from their activities."""
        if not self.units.discrete:
            raise NotImplementedError("the variance of Gaussian units is not known from the moments of a machine")
        mean = self.mean
        return mean * (1.0 - mean)


def _machine(weights: Tensor | Machine, left_bias: Tensor | None, right_bias: Tensor | None) -> Machine:
    if isinstance(weights, Machine):
        if left_bias is not None or right_bias is not None:
            raise ValueError("left_bias and right_bias must be left out with a machine, which has its own biases")
        return weights
    if left_bias is None or right_bias is None:
        raise ValueError("left_bias and right_bias must be given with weights, got None")
    return BipartiteMachine(weights, left_bias, right_bias)
