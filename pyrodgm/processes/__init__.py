"""Several processes that train or evaluate one model, started by ``torchrun``."""

from pyrodgm.processes.collectives import (
    all_sum,
    all_sums,
    broadcast_state,
    first,
    from_all,
    from_first,
    gather_rows,
    merged,
)
from pyrodgm.processes.memory import in_shared_memory
from pyrodgm.processes.shards import draws_are_independent, independent_draws, pooled
from pyrodgm.processes.share import Share, current_share, sharing
from pyrodgm.processes.state import averaged_in, kinds_of, register_state, sharded_in
from pyrodgm.processes.world import ProcessError, World, alone, current_job, restarted_job, world

__all__ = [
    "ProcessError",
    "Share",
    "World",
    "all_sum",
    "all_sums",
    "alone",
    "averaged_in",
    "broadcast_state",
    "current_job",
    "current_share",
    "draws_are_independent",
    "first",
    "from_all",
    "from_first",
    "gather_rows",
    "in_shared_memory",
    "independent_draws",
    "kinds_of",
    "merged",
    "pooled",
    "register_state",
    "restarted_job",
    "sharded_in",
    "sharing",
    "world",
]
