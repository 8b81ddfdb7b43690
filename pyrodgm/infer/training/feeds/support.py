"""Whether all data lie where the likelihood can be evaluated."""

from typing import Any

import pyro
import torch
from pyro.distributions import MaskedDistribution
from torch import Tensor, nn

from pyrodgm.infer.estimators.reading import counted
from pyrodgm.infer.estimators.require_observed import require_observed
from pyrodgm.infer.tracing.arguments import called_with, split_arguments
from pyrodgm.infer.tracing.contexts import unchanged
from pyrodgm.infer.tracing.parameters import own_parameters
from pyrodgm.infer.training.feeds.columns import Columns
from pyrodgm.infer.training.feeds.trial import try_model

BLOCK = 1000  # rows per check: a temporary copy of colour images would be large


def check_support(pair: nn.Module, columns: Columns, data: str = "data") -> None:
    """Require all rows of the data that a site observes to be finite and in the support of its distribution.

    Sites that are masked, or observe anything but an unchanged argument, are left to the likelihood itself. ``data`` is
    what the error calls them.

    Raises:
        ValueError: If a row does not; names the site, its distribution and the row. If the model observes nothing.
    """
    batch = columns.pick(slice(0, min(2, len(columns))))
    args, kwargs = split_arguments(batch)
    without_effect, unchecked = unchanged(pair, columns.values[0].device), pyro.validation_enabled(False)
    with torch.no_grad(), without_effect, own_parameters(pair), unchecked, called_with(batch, data):
        trace = try_model(pair, *args, **kwargs)
    require_observed(counted(trace))
    arguments = [*args, *kwargs.values()]
    for name, site in trace.nodes.items():
        if site["type"] != "sample" or not site["is_observed"] or _is_masked(site):
            continue
        for argument, column in zip(arguments, columns.values, strict=True):
            if site["value"] is argument:
                _check_column(data, name, site["fn"], column)


def _check_column(data: str, name: str, fn: Any, column: Tensor) -> None:
    for i, block in enumerate(column.split(BLOCK)):
        try:
            inside = fn.support.check(block)
        except (NotImplementedError, RuntimeError):  # no support, or one that depends on the row
            return
        if not inside.dim():
            continue
        inside = inside.reshape(len(block), -1).all(1) & block.reshape(len(block), -1).isfinite().all(1)
        if bool(inside.all()):
            continue
        row = int((~inside).int().argmax())
        low, high = block[row].min().item(), block[row].max().item()
        raise ValueError(
            f"{data} must lie in the support of site '{name}', {fn.support} of {_family(fn)}, got values from {low:g} "
            f"to {high:g} in row {BLOCK * i + row}"
        )


def _is_masked(site: Any) -> bool:
    return isinstance(site["fn"], MaskedDistribution) or site["mask"] is not None


def _family(fn: Any) -> str:
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return type(fn).__name__
