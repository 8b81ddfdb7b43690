"""Several processes that train or evaluate one model, started by ``torchrun``."""

from pyrodgm.processes.collectives import all_sum, all_sums, broadcast_state, first, from_first, gather_rows, merged
from pyrodgm.processes.share import Share, current_share, sharing
from pyrodgm.processes.world import ProcessError, World, alone, world

__all__ = [
    "ProcessError",
    "Share",
    "World",
    "all_sum",
    "all_sums",
    "alone",
    "broadcast_state",
    "current_share",
    "first",
    "from_first",
    "gather_rows",
    "merged",
    "sharing",
    "world",
]
