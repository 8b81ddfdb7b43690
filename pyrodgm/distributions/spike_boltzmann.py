"""A Boltzmann machine whose bits are smoothed by a spike and an exponential."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.boltzmann.machine import require_bits
from pyrodgm.distributions.boltzmann_machine import BoltzmannMachine
from pyrodgm.distributions.moments import FromMoments
from pyrodgm.distributions.parameters import require_distributions
from pyrodgm.distributions.smoothing import ExponentialSmoothing
from pyrodgm.distributions.spike_exponential import refuse_gradient
from pyrodgm.distributions.visible_boltzmann import VisibleBoltzmann


class SpikeBoltzmann(FromMoments, TorchDistribution):
    r"""zeta = 0 where a Boltzmann machine has z = 0, a rising exponential on (0, 1] where it has z = 1.

    .. math:: p(\zeta) = p(z) \prod_{i: z_i = 1} \frac{\beta e^{\beta \zeta_i}}{e^\beta - 1}, \qquad
        z_i = [\zeta_i > 0]

    ``log_prob`` is with respect to a unit mass at 0 plus length in each coordinate. It jumps where a coordinate leaves
    0; train a posterior of :class:`SpikeExponential` on the registered divergence, which has the gradient for that.

    Args:
        machine: the machine, of event shape ``[D]``, or its visible units.
        beta: positive number; rate of the exponential.

    Raises:
        ValueError: ``beta`` is not positive, or a value is outside [0, 1] (with validation on).
        RuntimeError: where ``log_prob`` is differentiated with respect to a value.

    Source: Rolfe (2017), Discrete variational autoencoders, arXiv 1609.02200, section 2.1.

    >>> machine = BoltzmannMachine(torch.zeros(2, 3), torch.zeros(2), torch.zeros(3))
    >>> SpikeBoltzmann(machine, 5.0).log_prob(torch.zeros(5))
    tensor(-3.4657)
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012
    support = constraints.independent(constraints.unit_interval, 1)

    def __init__(
        self, machine: BoltzmannMachine | VisibleBoltzmann, beta: float, *, validate_args: bool | None = None
    ) -> None:
        require_distributions(machine=machine)
        require_bits(machine.energy)
        self.machine, self.smoothing = machine, ExponentialSmoothing(beta)
        super().__init__(machine.batch_shape, machine.event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "SpikeBoltzmann":
        new = self._get_checked_instance(SpikeBoltzmann, _instance)
        new.machine, new.smoothing = self.machine.expand(batch_shape), self.smoothing
        super(SpikeBoltzmann, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        value = refuse_gradient(value)
        z = (value > 0.0).to(value.dtype)
        return self.machine.log_prob(z) + (z * self.smoothing.log_prob(value, 1)).sum(-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            z = self.machine.sample(sample_shape)
            above = self.smoothing.icdf(torch.rand_like(z), 1).clamp(min=torch.finfo(z.dtype).tiny)
            return z * above

    def _moments(self) -> tuple[Tensor, Tensor]:
        probs = self.machine.mean
        mean, square = self.smoothing.moments(probs, 1)
        return probs * mean, probs * square
