"""The Poisson distribution by the logarithm of its mean."""

from typing import Any

import torch
from pyro.distributions import constraints
from torch import Tensor

from pyrodgm.arithmetic import LOG_2PI, log1p_minus, stirling_error
from pyrodgm.distributions.scalar import Scalar


class PoissonCounts(Scalar):
    r"""Counts with a Poisson distribution whose mean is given by its logarithm.

    .. math:: \log p(x) = x \log \mu - \mu - \log x!

    To rounding at every mean and count, in float32 too, by the saddle-point expansion of Loader (2000): the three terms
    above are large and cancel. It does not underflow with the mean, as :class:`pyro.distributions.Poisson` does.

    Args:
        log_mean: ``[*batch]``, real; the logarithm of the mean.

    Raises:
        ValueError: A value is no whole number from 0 (with validation on).

    Source: Loader (2000), "Fast and accurate computation of binomial probabilities".

    >>> PoissonCounts(torch.tensor([0.0, -200.0])).log_prob(torch.tensor([0.0, 1.0]))
    tensor([  -1., -200.])
    """

    log_mean: Tensor

    arg_constraints = {"log_mean": constraints.real}  # noqa: RUF012
    support = constraints.nonnegative_integer

    def __init__(self, log_mean: Tensor | float, *, validate_args: bool | None = None) -> None:
        super().__init__(log_mean, validate_args=validate_args)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return torch.poisson(self.log_mean.exp().expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        none, x = value == 0, value.clamp(min=1.0)
        log_mean, log_x = torch.broadcast_tensors(self.log_mean, x.log())
        near = _is_near(log_mean, log_x)
        excess = torch.where(near, log_mean - log_x, 0.0).expm1()  # (mean - x) / x
        mean = torch.where(near, 0.0, log_mean).exp()
        close, far = x * log1p_minus(excess), x * (log_mean - log_x) - (mean - x)
        found = torch.where(near, close, far) - stirling_error(x) - 0.5 * (LOG_2PI + log_x)
        return torch.where(none, -self.log_mean.exp(), found)

    @property
    def mean(self) -> Tensor:
        """The parameter mu, ``[*batch]``."""
        return self.log_mean.exp()

    @property
    def variance(self) -> Tensor:
        """The parameter mu, ``[*batch]``."""
        return self.log_mean.exp()


def _is_near(log_mean: Tensor, log_x: Tensor) -> Tensor:
    return (log_mean - log_x).detach().abs() < 0.09
