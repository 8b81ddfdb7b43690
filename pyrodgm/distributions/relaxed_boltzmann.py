"""The Boltzmann machine seen through a smoothing of its units."""

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.distributions.boltzmann_machine import BoltzmannMachine
from pyrodgm.distributions.parameters import require_discrete, require_distributions
from pyrodgm.distributions.visible_boltzmann import VisibleBoltzmann

if TYPE_CHECKING:
    from pyrodgm.distributions.smoothing import Smoothing


class RelaxedBoltzmann(TorchDistribution):
    r"""Marginal density of zeta, where z is from a Boltzmann machine and each zeta is drawn from a smoothing of its z.

    .. math:: \log p(\zeta) = \log \sum_z p(z) \prod_i r(\zeta_i \mid z_i)
        = \sum_i \log r(\zeta_i \mid 0) + \log Z(W, b + \Delta(\zeta)) - \log Z(W, b), \qquad
        \Delta_i = \log \frac{r(\zeta_i \mid 1)}{r(\zeta_i \mid 0)}

    Of a Potts unit each column is smoothed. The sum over z is the partition function of a machine whose biases the
    value shifts. It is exact where ``num_iterations`` is None: a sum over the states of the smaller side, or by
    elimination, for each value. Otherwise it is the mean-field lower bound,
    :func:`pyrodgm.boltzmann.mean_field_log_partition`: then ``log_prob`` is a lower bound of log p(zeta) (so that an
    evidence bound made with it remains one), and its gradient is that of the energy at the fixed mean field.

    Args:
        machine: distribution of z, ``[n]``, on any graph; or of its visible units, which alone are smoothed.
        smoothing: the densities of zeta given z.
        num_iterations: None for the exact sum, or mean-field iterations, at least 1; 5 are the published number.

    Raises:
        ValueError: ``num_iterations`` is not positive, or None for a machine too large for exact
            sums.

    Source: Vahdat, Andriyash and Macready (2018), DVAE#, arXiv 1805.07445, sections 3 and 4.

    >>> from pyrodgm.distributions import ExponentialSmoothing
    >>> machine = BoltzmannMachine(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
    >>> prior = RelaxedBoltzmann(machine, ExponentialSmoothing(8.0))
    >>> prior.log_prob(prior.sample((7,))).shape
    torch.Size([7])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        machine: BoltzmannMachine | VisibleBoltzmann,
        smoothing: "Smoothing",
        num_iterations: int | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        require_distributions(machine=machine)
        require_discrete(machine)
        if not callable(getattr(smoothing, "log_ratio", None)):
            raise TypeError(f"smoothing must be a Smoothing, got {smoothing!r}")
        if num_iterations is None and not machine.energy.can_sum():
            raise ValueError(
                "num_iterations must be a number for a machine that is too large for exact sums, got None for "
                f"{machine.energy}"
            )
        num_iterations = None if num_iterations is None else whole_number("num_iterations", num_iterations)
        self.machine, self.smoothing, self.num_iterations = machine, smoothing, num_iterations
        super().__init__(machine.batch_shape, machine.event_shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Any:
        return constraints.independent(self.smoothing.support, 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "RelaxedBoltzmann":
        new = self._get_checked_instance(RelaxedBoltzmann, _instance)
        batch_shape = torch.Size(batch_shape)
        new.machine = self.machine.expand(batch_shape)
        new.smoothing, new.num_iterations = self.smoothing, self.num_iterations
        super(RelaxedBoltzmann, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        shifted = self.machine.shifted(self.smoothing.log_ratio(value))
        log_sum = shifted.log_partition() if self.num_iterations is None else shifted.mean_field(self.num_iterations)
        result = self.smoothing.log_prob(value, 0).sum(-1) + log_sum - self.machine.log_partition
        return result.expand(torch.broadcast_shapes(result.shape, self.batch_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            z = self.machine.sample(sample_shape)
            value = self.smoothing.draw(torch.rand_like(z), z)
            if self.smoothing.support is not constraints.unit_interval:
                return value
            # as in OverlappingBernoulli: a value this near to an end settles z, and its density is finite
            eps = torch.finfo(value.dtype).eps
            return value.clamp(eps**4, 1.0 - 0.5 * eps)

    @property
    def mean(self) -> Tensor:
        return self._mix(0)

    @property
    def variance(self) -> Tensor:
        return self._mix(1) - self._mix(0).square()

    def _mix(self, order: int) -> Tensor:
        probs = self.machine.mean
        low, high = (self.smoothing.moments(probs, z)[order] for z in (0, 1))
        return (1.0 - probs) * low + probs * high
