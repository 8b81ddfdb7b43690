"""The base of the distributions of the logit of a fraction."""

from abc import abstractmethod
from typing import Any

from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic import wide
from pyrodgm.distributions.scalar import Scalar

# Below 1e-15 the derivatives of a draw, about 1 / concentration^2, leave the range of float32.
CONCENTRATION = constraints.greater_than_eq(1e-15)


class Logit(Scalar):
    r"""A distribution of :math:`y = \log v - \log(1 - v)`, where v is a fraction in (0, 1).

    Every finite y has exact log v = logsigmoid(y) and log(1 - v) = logsigmoid(-y), so that neither draws nor densities
    need care at the ends of the interval. Divergences are those of the fractions: the map is one to one.
    """

    support = constraints.real
    has_rsample = True

    def _narrow(self, result: Tensor) -> Tensor:
        return result.to(getattr(self, next(iter(self.arg_constraints))).dtype)

    def _wide(self) -> tuple[Tensor, ...]:
        return tuple(wide(getattr(self, name)) for name in self.arg_constraints)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._log_density(value)

    @abstractmethod
    def _log_density(self, logit: Tensor) -> Tensor:
        """Log-density with respect to the logit, in the dtype of the parameters."""

    @abstractmethod
    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """A reparameterised draw ``[*sample, *batch]``."""

    @abstractmethod
    def expected_logs(self) -> tuple[Tensor, Tensor]:
        """E[log v] and E[log(1 - v)], ``[*batch]`` in float64."""

    @abstractmethod
    def negative_entropy(self, expected_log: Tensor, expected_log1m: Tensor) -> Tensor:
        """E[log p(y)] given ``expected_logs()``, ``[*batch]`` in float64."""

    def fraction_mean(self) -> Tensor:
        """Mean of the fraction v, ``[*batch]``, where the variance is not asked for."""
        return self.fraction_moments()[0]

    @abstractmethod
    def fraction_moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of the fraction v, ``[*batch]`` each."""

    @property
    def mean(self) -> Tensor:
        expected_log, expected_log1m = self.expected_logs()
        return self._narrow(expected_log - expected_log1m)

    @property
    @abstractmethod
    def variance(self) -> Tensor:
        """Variance of the logit, ``[*batch]``."""

    def entropy(self) -> Tensor:
        return self._narrow(-self.negative_entropy(*self.expected_logs()))


class ConcentrationLogit(Logit):
    """A distribution of a logit with two concentrations, of the fraction and of what it leaves."""

    concentration1: Tensor
    concentration0: Tensor

    arg_constraints = {"concentration1": CONCENTRATION, "concentration0": CONCENTRATION}  # noqa: RUF012

    def __init__(
        self, concentration1: Tensor | float, concentration0: Tensor | float, *, validate_args: bool | None = None
    ) -> None:
        super().__init__(concentration1, concentration0, validate_args=validate_args)
