"""The visible units of a Boltzmann machine."""

from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.boltzmann import BipartiteMachine, Machine, Units
from pyrodgm.distributions.boltzmann_machine import BoltzmannMachine
from pyrodgm.distributions.parameters import require_distributions


class VisibleBoltzmann(TorchDistribution):
    r"""Distribution of the first units of a Boltzmann machine, the others summed out.

    .. math:: p(v) = \sum_h \frac{e^{-E(v, h)}}{Z}, \qquad
              \log p(v) = b^\top v + \sum_j \log\bigl(1 + e^{(v^\top W + c)_j}\bigr) - \log Z

    The second form is that of a restricted machine: left units visible, right ones hidden. On a graph the sum over the
    hidden units is closed where no two of them are coupled, and goes by elimination otherwise.

    Args:
        machine: distribution of all units, ``[n]``.
        num_visible: number V of visible units, from 1 to n; for two layers that of the left ones. Of Potts units the
            number of their columns.

    Raises:
        ValueError: ``num_visible`` is out of range, or the hidden units are too many and too much coupled for an exact
            sum.

    Source: Smolensky (1986); Hinton (2002), Neural Computation 14, 1771.

    >>> machine = BoltzmannMachine(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
    >>> VisibleBoltzmann(machine, 3).log_prob(torch.ones(3))  # 3 log(1/2)
    tensor(-2.0794)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, machine: BoltzmannMachine, num_visible: int, *, validate_args: bool | None = None) -> None:
        require_distributions(machine=machine)
        num_visible = whole_number("num_visible", num_visible)
        units = machine.event_shape[0]
        if not 1 <= num_visible <= units:
            raise ValueError(f"num_visible must lie in 1, ..., {units}, got {num_visible}")
        if isinstance(machine.energy, BipartiteMachine) and num_visible != machine.energy.weights.shape[-2]:
            left = machine.energy.weights.shape[-2]
            raise ValueError(f"num_visible must be that of the left units of two layers, {left}, got {num_visible}")
        machine.energy.units.head(num_visible).check_columns("num_visible", num_visible)
        self.machine, self.num_visible = machine, num_visible
        super().__init__(machine.batch_shape, torch.Size([num_visible]), validate_args=validate_args)

    @constraints.dependent_property(event_dim=1)
    def support(self) -> Any:
        return self.units.support

    @property
    def units(self) -> Units:
        """The kind of the visible units."""
        return self.energy.units.head(self.num_visible)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "VisibleBoltzmann":
        new = self._get_checked_instance(VisibleBoltzmann, _instance)
        new.machine, new.num_visible = self.machine.expand(batch_shape), self.num_visible
        super(VisibleBoltzmann, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def energy(self) -> Machine:
        """The energy of all units."""
        return self.machine.energy

    @property
    def log_partition(self) -> Tensor:
        """Log Z of all units in nats, with its gradient."""
        return self.machine.log_partition

    def shifted(self, biases: Tensor) -> Machine:
        """The energy with ``biases`` ``[*, V]`` added to those of the visible units."""
        hidden = biases.new_zeros((*biases.shape[:-1], self.machine.event_shape[0] - self.num_visible))
        return self.energy.shifted(torch.cat([biases, hidden], -1))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        result = self.energy.log_marginal(value) - self.log_partition
        if not self.units.discrete:
            result = result + self.units.log_reference(value)
        return result.expand(torch.broadcast_shapes(result.shape, self.batch_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.machine.sample(sample_shape)[..., : self.num_visible]

    @property
    def mean(self) -> Tensor:
        return self.machine.mean[..., : self.num_visible]

    @property
    def variance(self) -> Tensor:
        return self.machine.variance[..., : self.num_visible]
