"""Whether all data lie where the likelihood can be evaluated."""

from contextlib import suppress
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

    Sites that are masked, or observe anything but an unchanged argument, are left to the likelihood itself. A support
    that depends on the data, as that of ``Multinomial(int(x.sum(-1).max()), probs)``, is for a row what it is where the
    model runs on that row. ``data`` is what the error calls them.

    Raises:
        ValueError: If a row does not; names the site, its distribution and the row. If the model observes nothing.
    """

    def observed(rows: Tensor | slice) -> dict[str, tuple[Any, Tensor, Tensor]]:
        """The distribution of each site that observes an argument, with the rows of it and all of it."""
        batch = columns.pick(rows)
        args, kwargs = split_arguments(batch)
        without_effect, unchecked = unchanged(pair, columns.values[0].device), pyro.validation_enabled(False)
        with torch.no_grad(), without_effect, own_parameters(pair), unchecked, called_with(batch, data):
            trace = try_model(pair, *args, **kwargs)
        require_observed(counted(trace))
        arguments = list(zip([*args, *kwargs.values()], columns.values, strict=True))
        return {
            site["name"]: (site["fn"], argument, column)
            for site in counted(trace)
            for argument, column in arguments
            if site["is_observed"] and not _is_masked(site) and site["value"] is argument
        }

    for name, (fn, _, column) in observed(slice(0, min(2, len(columns)))).items():
        for i, block in enumerate(column.split(BLOCK)):
            wrong = BLOCK * i + _outside(fn, block)
            if not len(wrong):
                continue
            own_fn, own = fn, column[wrong]
            with suppress(Exception):  # a program need not run on data that it cannot give
                own_fn, own, _ = observed(wrong)[name]
            wrong = wrong[_outside(own_fn, own)]
            if len(wrong):
                row = int(wrong[0])
                low, high = column[row].min().item(), column[row].max().item()
                raise ValueError(
                    f"{data} must lie in the support of site '{name}', {own_fn.support} of {_family(own_fn)}, got "
                    f"values from {low:g} to {high:g} in row {row}"
                )


def _outside(fn: Any, block: Tensor) -> Tensor:
    """The rows of a block that are not finite or not in the support, as far as that is known without the others."""
    try:
        inside = fn.support.check(block)
    except (NotImplementedError, RuntimeError):  # no support, or one that depends on the row
        return torch.empty(0, dtype=torch.long)
    if not inside.dim():
        return torch.empty(0, dtype=torch.long)
    inside = inside.reshape(len(block), -1).all(1) & block.reshape(len(block), -1).isfinite().all(1)
    return (~inside).nonzero().squeeze(-1).cpu()


def _is_masked(site: Any) -> bool:
    return isinstance(site["fn"], MaskedDistribution) or site["mask"] is not None


def _family(fn: Any) -> str:
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return type(fn).__name__
