"""A Boltzmann machine as an energy of states, on whatever graph, with what samplers ask of it."""

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.boltzmann.annealed_importance import LogPartition
from pyrodgm.boltzmann.units import Bits, Units


class Swept(NamedTuple):
    """States after sweeps, and minus their energy at the machine's own temperature.

    Attributes:
        parts: The states side by side, in as many parts as the machine draws them in.
        negative_energy: ``[N]``, in nats.
    """

    parts: tuple[Tensor, ...]
    negative_energy: Tensor

    @property
    def states(self) -> Tensor:
        """``[N, n]``."""
        return self.parts[0] if len(self.parts) == 1 else torch.cat(self.parts, -1)


def require_machine(machine: Any) -> None:
    """Refuse what is no machine.

    Raises:
        TypeError: Names the argument.
    """
    if not isinstance(machine, Machine):
        raise TypeError(f"machine must be a Machine, got {machine!r}")


def require_bits(machine: "Machine") -> None:
    """Refuse a machine of other units than those in {0, 1}.

    Raises:
        ValueError: Names the units.
    """
    if not isinstance(machine.units, Bits):
        raise ValueError(f"machine must have units in {{0, 1}}, got {machine.units!r}")


class Machine(ABC):
    """The energy of units: tensors, the graph that they lie on, and the kind of the units.

    States are ``[*, n]``, for units in {0, 1} a column each; a Potts unit takes as many as it has states. Machines are
    values: methods that change something return another machine, with the same tensors where it can. A gradient reaches
    the tensors through :meth:`negative_energy`, :meth:`fields`, :meth:`log_partition`, :meth:`mean_field` and
    :meth:`attach_moments`; whatever samples has none.
    """

    @property
    @abstractmethod
    def parameters(self) -> tuple[Tensor, ...]:
        """The couplings, then the biases: as they were given, with their batch dimensions."""

    @property
    @abstractmethod
    def batch_shape(self) -> torch.Size:
        """Batch dimensions of the parameters, broadcast."""

    @property
    @abstractmethod
    def num_units(self) -> int:
        """Number of columns n of a state: that of units, where these take one each."""

    @property
    @abstractmethod
    def units(self) -> Units:
        """The kind of the units."""

    @property
    @abstractmethod
    def biases(self) -> Tensor:
        """``[*batch, n]``."""

    @abstractmethod
    def coupling_matrix(self) -> Tensor:
        """The symmetric matrix of couplings, ``[*batch, n, n]`` with zeros on the diagonal."""

    @abstractmethod
    def replace(self, *parameters: Tensor) -> "Machine":
        """The machine on the same graph with other parameters."""

    @abstractmethod
    def expand(self, batch_shape: torch.Size) -> "Machine":
        """The machine with its parameters expanded to other batch dimensions."""

    @abstractmethod
    def shifted(self, biases: Tensor) -> "Machine":
        """The machine with ``biases`` ``[*, n]`` added to its own."""

    @abstractmethod
    def negative_energy(self, states: Tensor) -> Tensor:
        """-E in nats, ``[*]``; of means of independent units in place of states, its expectation."""

    @abstractmethod
    def fields(self, states: Tensor) -> Tensor:
        """Log-odds of each unit given the others, ``[*, n]``."""

    @abstractmethod
    def log_marginal(self, visible: Tensor) -> Tensor:
        """Log of the unnormalised probability of the first units ``[*, V]``, the others summed out: ``[*]``.

        Raises:
            ValueError: If the others are too many and too much coupled for an exact sum.
        """

    @abstractmethod
    def can_sum(self, fast: bool = False) -> bool:
        """Whether exact sums fit into memory; with ``fast``, whether they take no longer than sweeps of chains."""

    @abstractmethod
    def log_partition(self) -> Tensor:
        """Exact log Z in nats, ``[*batch]``, differentiable.

        Raises:
            ValueError: If the machine is too large for exact sums.
        """

    @abstractmethod
    def exact_moments(self) -> tuple[Tensor, ...]:
        """The exact gradient of log Z with respect to each of the parameters."""

    @abstractmethod
    def exact_samples(self, num_samples: int) -> Tensor:
        """Independent exact samples, ``[N, *batch, n]``."""

    @abstractmethod
    def mean_field(self, num_iterations: int = 5) -> Tensor:
        """The lower bound of log Z by independent units, ``[*batch]``."""

    @abstractmethod
    def sweep(
        self,
        states: Tensor | Swept,
        num_sweeps: int = 1,
        beta: Tensor | float = 1.0,
        base: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Swept:
        r"""Sweeps of block-Gibbs sampling at an inverse temperature.

        .. math:: p_\beta(z) \propto \exp\bigl(-\beta E(z) + (1 - \beta)\, a^\top z\bigr)

        Args:
            states: ``[N, n]``, or the result of earlier sweeps, which saves copies; left as they are.
            num_sweeps: Number of sweeps, at least 1.
            beta: One inverse temperature, or one for each state, ``[N]``.
            base: The biases a of the independent units at beta 0, ``[n]``; 0 by default.
            rows: Indices ``[M]`` of the states to begin from; all of them by default.
        """

    @abstractmethod
    def gibbs(self, states: Tensor, num_sweeps: int = 1) -> Tensor:
        """Sweeps at the machine's own temperature: new states of the same shape, ``[*, n]``."""

    @abstractmethod
    def sample_moments(self, states: Tensor, weights: Tensor | None = None) -> tuple[Tensor, ...]:
        """The gradient of log Z as states ``[N, n]`` estimate it, with weights ``[N]`` that sum to 1 if given."""

    @abstractmethod
    def estimate_log_partition(
        self, num_temperatures: int = 1000, num_chains: int = 1024, base: Tensor | None = None
    ) -> LogPartition:
        """Log Z by annealed importance sampling from independent units with biases ``base`` ``[n]``."""

    @torch.no_grad()
    def random_states(self, num_samples: int) -> Tensor:
        """States of units without any field, fair coins say: ``[N, n]`` in the dtype and on the device of biases."""
        return self.units.draw(self.biases.new_zeros(whole_number("num_samples", num_samples, 0), self.num_units))

    def check_single(self) -> None:
        """Refuse batches of machines, where one is to be sampled.

        Raises:
            ValueError: Names the batch dimensions.
        """
        if self.batch_shape:
            raise ValueError(f"machine must be one, without batch dimensions, got {list(self.batch_shape)}")

    @abstractmethod
    def detach(self) -> "Machine":
        """The machine without gradient."""

    @torch.no_grad()
    def log_partition_change(self, before: "Machine", states: Tensor) -> Tensor:
        """Log Z of this machine minus that of ``before``, by importance weights of its states ``[N, n]``.

        See :func:`pyrodgm.boltzmann.log_partition_change`.
        """
        pairs = zip(self.parameters, before.parameters, strict=True)
        log_weights = self.replace(*(after - earlier for after, earlier in pairs)).negative_energy(states)
        return log_weights.logsumexp(0) - math.log(len(states))

    @abstractmethod
    def attach_moments(self, log_partition: Tensor, moments: tuple[Tensor, ...]) -> Tensor:
        """``log_partition`` ``[*batch]`` with the gradient that the moments give it, first derivatives only."""
