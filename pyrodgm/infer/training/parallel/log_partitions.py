"""Log-partition functions that several processes estimate together."""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from pyrodgm.processes import from_all, world


@runtime_checkable
class Estimated(Protocol):
    """A prior whose log Z has to be estimated for evaluation, which it does when it is called."""

    def needs_estimate(self) -> bool: ...

    def estimate_log_partition(self) -> Any: ...


def estimate_log_partitions(pair: nn.Module) -> None:
    """Estimate log Z together where any process would have to when it calls a prior; all processes have to call this.

    Args:
        pair: A module in evaluation mode.
    """
    if world().size == 1:
        return
    for part in pair.modules():
        if isinstance(part, Estimated):
            needed = from_all({"": torch.tensor([part.needs_estimate()])})
            if any(bool(one[""]) for one in needed):
                part.estimate_log_partition()
