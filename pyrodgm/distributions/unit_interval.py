"""The base of distributions of fractions."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import into_open_interval, unit_logit, wide
from pyrodgm.distributions.logits import Logit
from pyrodgm.distributions.scalar import Scalar


class UnitInterval(Scalar):
    """A distribution of a fraction v in (0, 1), in terms of that of its logit.

    Draws are rounded to the dtype and lie strictly inside (0, 1): from 1.2e-38 to 1 - 6e-8 in float32, from 1e-290 to
    1 - 1.1e-16 in float64. The density is that of the number it is given. Where the distribution has much mass beyond
    this range, as with concentrations below 0.1 in float32, work with ``logits``, which have no such limit.
    """

    support = constraints.unit_interval
    has_rsample = True
    family: ClassVar[Any]  # the distribution of the logit, which has the same parameters

    @property
    def logits(self) -> Logit:
        """The distribution of log v - log(1 - v)."""
        return self.family(*(getattr(self, name) for name in self.arg_constraints), validate_args=False)

    def _wide_logits(self) -> Logit:
        return self.family(*(wide(getattr(self, name)) for name in self.arg_constraints), validate_args=False)

    def _narrow(self, result: Tensor) -> Tensor:
        return result.to(getattr(self, next(iter(self.arg_constraints))).dtype)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return into_open_interval(self._narrow(self._wide_logits().rsample(sample_shape).sigmoid()))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logit = unit_logit(value)
        return self._narrow(self._wide_logits().log_prob(logit) - logsigmoid(logit) - logsigmoid(-logit))

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        inside = self._narrow(self._wide_logits().cdf(unit_logit(value)))
        # The logits are those of values inside the interval; the ends themselves may be far from these.
        return torch.where(value <= 0.0, 0.0, torch.where(value >= 1.0, 1.0, inside))

    def icdf(self, value: Tensor) -> Tensor:
        probability = wide(into_open_interval(value))
        return into_open_interval(self._narrow(self._wide_logits().icdf(probability).sigmoid()))

    def entropy(self) -> Tensor:
        logits = self.logits
        expected_log, expected_log1m = logits.expected_logs()
        return self._narrow(expected_log + expected_log1m - logits.negative_entropy(expected_log, expected_log1m))

    @property
    def mean(self) -> Tensor:
        return self.logits.fraction_mean()

    @property
    def variance(self) -> Tensor:
        return self.logits.fraction_moments()[1]
