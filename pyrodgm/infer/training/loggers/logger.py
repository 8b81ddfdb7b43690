"""What training asks of a logger."""

import math
from collections.abc import Mapping
from typing import Any, Protocol


class Logger(Protocol):
    """Gets the metrics of each epoch."""

    def begin(self, config: Mapping[str, Any], step: int) -> None:
        """Called before training with its options and the number of steps done, which is 0 unless it is resumed.

        What was logged at a later step belongs to steps that are taken again.
        """
        ...

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Called after each epoch with its row of metrics and the number of steps done."""
        ...

    def end(self) -> None:
        """Called once training is over, also when it failed."""
        ...


def measured(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics without those that were not measured after this epoch, which are NaN, and without the step."""
    return {name: value for name, value in metrics.items() if name != "step" and not math.isnan(value)}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested options as text by dotted name.

    Example:
        >>> flat({"seed": 0, "config": {"data": "digits"}})
        {'seed': '0', 'config.data': 'digits'}
    """
    result: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[f"{prefix}{name}"] = str(value)
    return result
