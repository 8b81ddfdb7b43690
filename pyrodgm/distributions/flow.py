"""Normalising flows on a Gaussian, by zuko."""

from typing import Any

import numpy as np
import torch
from pyro.contrib.zuko import ZukoToPyro
from torch import Tensor
from torch.distributions import Distribution, constraints

from pyrodgm.extras import needs_extra


class FlowDistribution(ZukoToPyro):
    """A flow on a Gaussian, with what the bridge leaves out: support, samples without gradient, an estimated mean."""

    support = constraints.real_vector
    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, dist: Any) -> None:
        if not callable(getattr(dist, "rsample", None)):
            raise TypeError(f"dist must be a distribution of zuko, got {dist!r}")
        super().__init__(dist)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "cache": {}}  # the last draw, with its gradient

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.dist.rsample(torch.Size(sample_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        if value.numel() == 0:  # which the sums inside the flow refuse
            return value.new_zeros(torch.broadcast_shapes(value.shape[:-1], self.batch_shape))
        return super().log_prob(value.to(self.dist.base.mean.dtype))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "FlowDistribution":
        return FlowDistribution(self.dist.expand(torch.Size(batch_shape)))

    @property
    def mean(self) -> Tensor:
        # The linear part of the flow cancels in pairs of opposite draws; they are the same each time and for all data.
        base = self.dist.base
        noise = np.random.default_rng(0).standard_normal((64, *[1] * len(self.batch_shape), *self.event_shape))
        step = base.stddev * torch.as_tensor(noise).to(base.mean)
        return self.dist.transform.inv(torch.cat([base.mean + step, base.mean - step])).mean(0)


def import_zuko() -> Any:
    """The library; importing it switches off the validation of all distributions, which is put back here."""
    validates = Distribution._validate_args
    try:
        with needs_extra("flows"):
            import zuko
    finally:
        Distribution.set_default_validate_args(validates)
    return zuko
