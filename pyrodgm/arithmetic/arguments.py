"""Checks of arguments that are numbers, with one form of message for all."""

import math
import operator
from typing import Any


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


def finite_number(name: str, value: Any, least: float = -math.inf, above: float = -math.inf) -> float:
    """A finite number, of Python, NumPy or a tensor of one, as Python's.

    Args:
        name: What the message calls it.
        value: What was passed.
        least: The smallest that is allowed.
        above: What it must be greater than.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is NaN, infinite or too small.

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
    if not (math.isfinite(number) and number >= least and number > above):
        bound = f" and at least {least:g}" if math.isfinite(least) else ""
        bound += f" and greater than {above:g}" if math.isfinite(above) else ""
        raise ValueError(f"{name} must be finite{bound}, got {number:g}")
    return number
