"""Checks of the parameters of distributions."""

from typing import Any

from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.utils import broadcast_all

from pyrodgm.arithmetic import floating
from pyrodgm.arithmetic.arguments import finite_number


def broadcast_parameters(**parameters: Any) -> tuple[Tensor, ...]:
    """Parameters that are numbers or tensors as floating-point tensors of one shape.

    Raises:
        TypeError: If one is neither a number nor a tensor.
        ValueError: If a number is not finite, or the shapes do not broadcast.
    """
    given = [p if isinstance(p, Tensor) else finite_number(name, p) for name, p in parameters.items()]
    try:
        return tuple(broadcast_all(*(floating(p) if isinstance(p, Tensor) else p for p in given)))
    except RuntimeError:
        shapes = ", ".join(str(list(p.shape)) if isinstance(p, Tensor) else "[]" for p in given)
        raise ValueError(f"{' and '.join(parameters)} must broadcast, got shapes {shapes}") from None


def require_distributions(**values: Any) -> None:
    """Refuse what is no distribution.

    Raises:
        TypeError: Names the argument.
    """
    for name, value in values.items():
        if not isinstance(value, Distribution):
            raise TypeError(f"{name} must be a distribution, got {value!r}")


def require_discrete(machine: Any) -> None:
    """Refuse the distribution of a machine whose own units are real.

    Raises:
        ValueError: Names the units.
    """
    if not machine.units.discrete:
        raise ValueError(f"machine must have discrete units to be relaxed, got {machine.units!r}")


def refuse_infinite(distribution: Distribution, **parameters: Tensor | float) -> None:
    """Refuse infinite parameters, which the constraints of PyTorch let through, where arguments are validated.

    Raises:
        ValueError: Names the parameter.
    """
    if distribution._validate_args:
        for name, value in parameters.items():
            if isinstance(value, Tensor) and bool(value.isinf().any()):
                raise ValueError(f"{name} must be finite, got NaN or infinite values")
