"""Sample sites of traces."""

from collections.abc import Collection
from typing import Any

from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

Site = Any
Trace = Any


def samples(trace: Trace) -> list[Site]:
    """The sample sites of a trace, those of plates apart."""
    return [site for site in prune_subsample_sites(trace).nodes.values() if site["type"] == "sample"]


def sum_rows(log_prob: Tensor, dims: Collection[int]) -> Tensor:
    """Sum over all dimensions but ``dims`` (counted from the right, negative), which stay where they are."""
    others = [d for d in range(-log_prob.dim(), 0) if d not in dims]
    return log_prob.sum(others, keepdim=True) if others else log_prob


def exchange(trace: Trace, values: dict[str, Tensor]) -> Trace:
    """A copy of ``trace``, for replaying, with other values at the sites named."""
    changed = trace.copy()
    for name, value in values.items():
        changed.nodes[name] = {**changed.nodes[name], "value": value}
    return changed


def is_enumerated(site: Site) -> bool:
    """Whether all values of the site were taken side by side, along a dimension of their own."""
    return "_enumerate_dim" in site["infer"]
