"""The arithmetic of two layers with its parameters checked, for callers from outside; sweeps call it unchecked."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from torch import Tensor

from pyrodgm.arithmetic.arguments import real_tensors, validated
from pyrodgm.boltzmann import energy, marginal, moments
from pyrodgm.boltzmann.energy import check_sides
from pyrodgm.boltzmann.layers import check_kinds

P = ParamSpec("P")
T = TypeVar("T")

SIDES = ("left_bias", "right_bias", "left", "right")


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which refuses weights, biases and states that are not finite or do not belong together.

    Raises:
        TypeError: If one is no tensor.
        ValueError: Names the argument.
    """
    names = list(inspect.signature(function).parameters)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        given: dict[str, Any] = dict(zip(names, args, strict=False)) | kwargs
        sides = {name: given[name] for name in SIDES if name in given}
        validated(weights=given["weights"], **sides)
        real_tensors(weights=given["weights"], **{name: value for name, value in sides.items() if "bias" in name})
        check_sides(given["weights"], **sides)
        if "units" in given:
            check_kinds(given["units"], given["weights"].shape[-2:])
        if "moments" in given:
            validated(log_partition=given["log_partition"])
            if not isinstance(given["moments"], moments.Moments):
                raise TypeError(f"moments must be Moments of the machine, got {given['moments']!r}")
        return function(*args, **kwargs)

    return call


left_field = checked(energy.left_field)
right_field = checked(energy.right_field)
negative_energy = checked(energy.negative_energy)
log_marginal = checked(marginal.log_marginal)
sample_moments = checked(moments.sample_moments)
attach_moments = checked(moments.attach_moments)


def bernoulli_entropy(logits: Tensor) -> Tensor:
    """Entropy of Bernoulli variables, ``[*]`` in nats.

    Raises:
        ValueError: If logits are not finite.
    """
    validated(logits=logits)
    real_tensors(logits=logits)
    return energy.bernoulli_entropy(logits)
