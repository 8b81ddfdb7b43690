"""Log-probabilities of the rows of a program: the elements of its data plates."""

from collections.abc import Collection
from typing import Any

import torch
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

Site = Any
Trace = Any


def samples(trace: Trace) -> list[Site]:
    """The sample sites of a trace, excluding those of plates and deterministic ones."""
    sites = prune_subsample_sites(trace).nodes.values()
    return [site for site in sites if site["type"] == "sample" and not site["infer"].get("_deterministic")]


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


def enumerated_log_probs(guide_trace: Trace) -> Tensor | None:
    """Joint log-probability of the values of all enumerated sites of a guide, ``[*values, *plates]``; None without any.

    Raises:
        ValueError: If they lie in different plates.
    """
    sites = [site for site in samples(guide_trace) if is_enumerated(site)]
    stacks = {frozenset(f.name for f in site["cond_indep_stack"] if f.vectorized) for site in sites}
    if len(stacks) > 1:
        plates = ", ".join(f"{s['name']} in {[f.name for f in s['cond_indep_stack']]}" for s in sites)
        raise ValueError(f"enumerated sites must lie in the same plates, got {plates}")
    terms = [site["fn"].log_prob(site["value"]) for site in sites]
    return torch.stack(torch.broadcast_tensors(*terms)).sum(0) if terms else None


def expectation(term: Tensor, guide_trace: Trace, max_plate_nesting: int) -> Tensor:
    """Sum of ``term`` ``[*values, *plates]`` over the plates, averaged over the values of enumerated sites, ``[]``."""
    if term.dim() <= max_plate_nesting:
        return term.sum()
    log_probs = enumerated_log_probs(guide_trace)
    return term.sum() if log_probs is None else (log_probs.exp() * term).sum()
