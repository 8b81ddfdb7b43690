"""Checks of arguments, with one form of message for all: what must be, and what came.

What costs a pass over the values of a tensor is left to where arguments are validated, or to what is called once.
"""

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from pyro.distributions import is_validation_enabled
from torch import Tensor, nn


def whole_number(name: str, value: Any, least: int | None = 1) -> int:
    """A whole number, of Python, NumPy or a tensor of one, as Python's.

    Args:
        name: What the message calls it.
        value: What was passed.
        least: The smallest that is allowed; None for no limit.

    Raises:
        TypeError: If it is no whole number; numbers with a fraction, infinity and truth values are none.
        ValueError: If it is too small.

    >>> import numpy as np
    >>> whole_number("count", np.int64(3))
    3
    >>> whole_number("count", 1.5)
    Traceback (most recent call last):
    TypeError: count must be a whole number, got 1.5
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def whole_numbers(name: str, values: Any, least: int = 1, length: int | None = None) -> tuple[int, ...]:
    """Whole numbers in a sequence, as Python's; ``length`` of them, if that is given.

    Raises:
        TypeError: If it is no sequence, or one of them is no whole number.
        ValueError: If one is too small, or there are more or fewer than ``length``.

    >>> whole_numbers("hidden", [300, 0])
    Traceback (most recent call last):
    ValueError: hidden[1] must be at least 1, got 0
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise TypeError(f"{name} must be a sequence of whole numbers, got {values!r}")
    numbers = tuple(whole_number(f"{name}[{i}]", value, least) for i, value in enumerate(values))
    if length is not None and len(numbers) != length:
        raise ValueError(f"{name} must be {length} whole numbers, got {len(numbers)}")
    return numbers


def finite_number(
    name: str,
    value: Any,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """A finite number, of Python, NumPy or a tensor of one, as Python's.

    Args:
        name: What the message calls it.
        value: What was passed.
        least: The smallest that is allowed.
        most: The largest that is allowed.
        above: What it must be greater than.
        below: What it must be less than.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is NaN, infinite or outside the range.

    >>> finite_number("weight", float("nan"), least=0.0)
    Traceback (most recent call last):
    ValueError: weight must be finite and at least 0, got nan
    """
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not (math.isfinite(number) and least <= number <= most and above < number < below):
        bound = f" and at least {least:g}" if math.isfinite(least) else ""
        bound += f" and at most {most:g}" if math.isfinite(most) else ""
        bound += f" and greater than {above:g}" if math.isfinite(above) else ""
        bound += f" and less than {below:g}" if math.isfinite(below) else ""
        raise ValueError(f"{name} must be finite{bound}, got {number:g}")
    return number


def finite_range(name: str, values: Any) -> tuple[float, float]:
    """The lower and the upper end of a range, finite.

    Raises:
        TypeError: If it is no pair of numbers.
        ValueError: If one is not finite, or the first is not below the second.

    >>> finite_range("log_variance_range", (2.0, -6.0))
    Traceback (most recent call last):
    ValueError: log_variance_range must be increasing, got (2.0, -6.0)
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence) or len(values) != 2:
        raise TypeError(f"{name} must be two numbers, got {values!r}")
    low, high = (finite_number(f"{name}[{i}]", value) for i, value in enumerate(values))
    if not low < high:
        raise ValueError(f"{name} must be increasing, got {values}")
    return low, high


def one_of(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Refuse what is none of the choices.

    >>> one_of("cell", "rnn", ("lstm", "gru"))
    Traceback (most recent call last):
    ValueError: cell must be one of lstm, gru, got 'rnn'
    """
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def callables(**parts: Any) -> None:
    """Refuse parts that cannot be called: networks, priors, likelihoods, what makes them.

    >>> callables(prior=None)
    Traceback (most recent call last):
    TypeError: prior must be a module or function, got None
    """
    for name, part in parts.items():
        if not callable(part):
            raise TypeError(f"{name} must be a module or function, got {part!r}")


def tensors(**values: Any) -> None:
    """Refuse what is no tensor, or none of real numbers one after the other in memory.

    >>> tensors(weights=[1.0])
    Traceback (most recent call last):
    TypeError: weights must be a tensor, got [1.0]
    >>> tensors(weights=torch.eye(2).to_sparse())
    Traceback (most recent call last):
    TypeError: weights must be a dense tensor, got torch.sparse_coo: pass its .to_dense()
    """
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor, got {value!r}")
        if value.is_nested:
            raise TypeError(f"{name} must have rows of one shape, got a nested tensor: pass its .to_padded_tensor(0.0)")
        if value.layout is not torch.strided:
            raise TypeError(f"{name} must be a dense tensor, got {value.layout}: pass its .to_dense()")
        if value.is_quantized:
            raise TypeError(f"{name} must not be quantised, got {value.dtype}: pass its .dequantize()")
        if value.is_complex():
            raise TypeError(
                f"{name} must be of real numbers, got {value.dtype}: pass torch.view_as_real of it, or its .real"
            )


def finite_tensor(name: str, value: Any, shape: Sequence[int | None] | None = None) -> Tensor:
    """A tensor of finite numbers; with ``shape``, of as many dimensions, and of those sizes where they are given.

    Raises:
        TypeError: If it is no tensor.
        ValueError: If it has another shape, or values that are NaN or infinite.

    >>> finite_tensor("mean", torch.tensor([0.5, float("nan")]))
    Traceback (most recent call last):
    ValueError: mean must be finite, got NaN or infinite values
    """
    tensors(**{name: value})
    given = tuple(value.shape)
    if shape is not None and (
        len(given) != len(shape) or any(n is not None and n != m for n, m in zip(shape, given, strict=True))
    ):
        wanted = ", ".join("*" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must have shape [{wanted}], got {list(given)}")
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name} must be finite, got NaN or infinite values")
    return value


def real_tensors(**values: Any) -> None:
    """Refuse what is no tensor of floating-point numbers: whole numbers have no gradient.

    >>> real_tensors(weights=torch.tensor([1]))
    Traceback (most recent call last):
    TypeError: weights must be of floating-point numbers, got torch.int64
    """
    tensors(**values)
    for name, value in values.items():
        if not value.is_floating_point():
            raise TypeError(f"{name} must be of floating-point numbers, got {value.dtype}")


def validated(**values: Any) -> None:
    """Refuse what is no tensor, and where Pyro validates arguments values that are NaN or infinite.

    >>> validated(logits=torch.tensor([0.0, float("nan")]))
    Traceback (most recent call last):
    ValueError: logits must be finite, got NaN or infinite values
    """
    tensors(**values)
    if is_validation_enabled():
        for name, value in values.items():
            if not _is_finite(value):
                raise ValueError(f"{name} must be finite, got NaN or infinite values")


def _is_finite(value: Tensor) -> bool:
    try:
        # a sum that is finite has finite terms, and is found five times as fast
        return bool(value.sum().isfinite()) or bool(value.isfinite().all())
    except RuntimeError:  # it is traced, and has no values to look at
        return True


def programs(pair: Any, *names: str) -> None:
    """Refuse what is no module with the methods that are needed.

    >>> programs(None, "model", "guide")
    Traceback (most recent call last):
    TypeError: pair must be a module with model and guide, got None
    """
    if not isinstance(pair, nn.Module) or not all(callable(getattr(pair, name, None)) for name in names):
        got = type(pair).__name__ if isinstance(pair, nn.Module) else repr(pair)
        raise TypeError(f"pair must be a module with {' and '.join(names)}, got {got}")
