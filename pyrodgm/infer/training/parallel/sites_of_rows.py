"""Sites that belong to no row of a batch, whose terms several processes would each count."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from torch import nn

from pyrodgm.infer.estimators.sites import samples, traces
from pyrodgm.infer.tracing.arguments import Batch, split_arguments
from pyrodgm.infer.tracing.parameters import own_parameters


def check_sites(pair: nn.Module, batch_of: Callable[[int], AbstractContextManager[Batch]], count: int) -> None:
    """Require every term of a bound to be that of some rows of the batch.

    Args:
        pair: Model and guide.
        batch_of: The arguments of the programs for a number of rows, in the context that these run in.
        count: That number; it is compared with one row more.

    Raises:
        ValueError: If a site counts in the bound outside of every plate whose size follows the number of rows.
    """
    found = []
    for rows in (count, count + 1):
        with batch_of(rows) as batch:
            found.append(_terms(pair, batch))
    few, more = found
    for name, sizes in few.items():
        if not any(sizes[plate] != more.get(name, {}).get(plate) for plate in sizes):
            raise ValueError(
                f"site {name!r} must be in a plate over the rows of a batch that several processes share, got plates "
                f"{sizes}: each process would count its term; call fit within pyrodgm.processes.alone()"
            )


def _terms(pair: Any, batch: Batch) -> dict[str, dict[str, int]]:
    """The sizes of the plates around each site that counts in a bound: observed ones and those of the guide."""
    positional, keywords = split_arguments(batch)
    with own_parameters(pair):
        guide, model = traces(pair, *positional, **keywords)
    counted = [*samples(guide), *(site for site in samples(model) if site["is_observed"])]
    return {site["name"]: {f.name: f.size for f in site["cond_indep_stack"]} for site in counted}
