"""Base classes of univariate distributions."""

from typing import Any, TypeVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all

from pyrodgm.arithmetic import floating, into_open_interval
from pyrodgm.distributions._numeric import keep_logs, unit_logs

E = TypeVar("E", bound="Scalar")


class Scalar(TorchDistribution):
    """A distribution of a number whose parameters, named in ``arg_constraints``, all have the batch's shape."""

    def __init__(self, *parameters: Tensor | float, validate_args: bool | None = None) -> None:
        values = broadcast_all(*(floating(p) if isinstance(p, Tensor) else p for p in parameters))
        for name, value in zip(self.arg_constraints, values, strict=True):
            setattr(self, name, value)
        super().__init__(values[0].shape, validate_args=validate_args)

    def expand(self: E, batch_shape: Any, _instance: Any = None) -> E:
        new = self._get_checked_instance(type(self), _instance)
        batch_shape = torch.Size(batch_shape)
        for name in self.arg_constraints:
            setattr(new, name, getattr(self, name).expand(batch_shape))
        super(Scalar, new).__init__(batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        new.has_rsample = self.has_rsample
        return new


class UnitInterval(Scalar):
    """A distribution of a number v in (0, 1) that is drawn and weighed by log v and log(1 - v), in float64.

    A subclass gives ``_rsample_wide_logs``, ``log_prob_from_logs``, ``_cdf_from_logs`` and ``_negative_entropy``.
    """

    support = constraints.unit_interval
    has_rsample = True

    def _narrow(self, result: Tensor) -> Tensor:
        return result.to(getattr(self, next(iter(self.arg_constraints))).dtype)

    def _rsample_wide_logs(self, sample_shape: Any) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _cdf_from_logs(self, log_value: Tensor, log1m_value: Tensor) -> Tensor:
        raise NotImplementedError

    def _negative_entropy(self) -> Tensor:
        raise NotImplementedError

    def log_prob_from_logs(self, log_value: Tensor, log1m_value: Tensor) -> Tensor:
        """Log-density (with respect to v) at the v whose logarithms ``rsample_logs`` gave, ``[*sample, *batch]``."""
        raise NotImplementedError

    def rsample_logs(self, sample_shape: Any = ()) -> tuple[Tensor, Tensor]:
        """Log v and log(1 - v) of one reparameterised draw ``[*sample, *batch]``, exact where v rounds to 0 or 1."""
        log_v, log1m_v = self._rsample_wide_logs(sample_shape)
        return self._narrow(log_v), self._narrow(log1m_v)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        log_v, log1m_v = self._rsample_wide_logs(sample_shape)
        return keep_logs(into_open_interval(self._narrow(log_v.exp())), log_v, log1m_v)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.log_prob_from_logs(*unit_logs(value))

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        inside = self._narrow(self._cdf_from_logs(*unit_logs(value)))
        # The logarithms are those of values inside the interval; the ends themselves may be far from these.
        return torch.where(value <= 0.0, 0.0, torch.where(value >= 1.0, 1.0, inside))

    def entropy(self) -> Tensor:
        return self._narrow(-self._negative_entropy())
