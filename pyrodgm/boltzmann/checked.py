"""The arithmetic of two layers with its parameters checked, for callers from outside; sweeps call it unchecked."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pyrodgm.boltzmann import energy, moments
from pyrodgm.boltzmann.energy import check_finite

P = ParamSpec("P")
T = TypeVar("T")

PARAMETERS = ("weights", "left_bias", "right_bias")


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which refuses weights and biases that are not finite.

    Raises:
        ValueError: Names the argument.
    """
    names = list(inspect.signature(function).parameters)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        given: dict[str, Any] = dict(zip(names, args, strict=False)) | kwargs
        check_finite(**{name: given[name] for name in PARAMETERS if name in given})
        return function(*args, **kwargs)

    return call


left_field = checked(energy.left_field)
right_field = checked(energy.right_field)
negative_energy = checked(energy.negative_energy)
log_marginal = checked(energy.log_marginal)
sample_moments = checked(moments.sample_moments)
attach_moments = checked(moments.attach_moments)
