"""The base of univariate distributions."""

from typing import Any, TypeVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyrodgm.distributions.parameters import broadcast_parameters, refuse_infinite

E = TypeVar("E", bound="Scalar")


class Scalar(TorchDistribution):
    """A distribution of a number whose parameters, named in ``arg_constraints``, all have the batch's shape."""

    def __init__(self, *parameters: Tensor | float, validate_args: bool | None = None) -> None:
        values = broadcast_parameters(**dict(zip(self.arg_constraints, parameters, strict=True)))
        named = dict(zip(self.arg_constraints, values, strict=True))
        for name, value in named.items():
            setattr(self, name, value)
        super().__init__(values[0].shape, validate_args=validate_args)
        refuse_infinite(self, **named)

    def expand(self: E, batch_shape: Any, _instance: Any = None) -> E:
        new = self._get_checked_instance(type(self), _instance)
        batch_shape = torch.Size(batch_shape)
        for name in self.arg_constraints:
            setattr(new, name, getattr(self, name).expand(batch_shape))
        super(Scalar, new).__init__(batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        new.has_rsample = self.has_rsample
        return new
