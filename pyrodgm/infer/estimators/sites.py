"""Sample sites of traces."""

from collections.abc import Collection
from typing import Any

import pyro.poutine as poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer.util import is_validation_enabled
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import TransformedDistribution

from pyrodgm.distributions import NoDensityError

Site = Any
Trace = Any


def traces(pair: Any, *args: Any, **kwargs: Any) -> tuple[Trace, Trace]:
    """A trace of the guide, and one of the model at its values."""
    guide = poutine.trace(pair.guide).get_trace(*args, **kwargs)
    return guide, poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(*args, **kwargs)


def samples(trace: Trace) -> list[Site]:
    """The sample sites of a trace, those of plates apart."""
    return [site for site in trace.nodes.values() if site["type"] == "sample" and not site_is_subsample(site)]


def log_prob(site: Site) -> Tensor:
    """The log-probability of a site, scaled and masked ``[*batch]``; computed once, and only where it is asked for."""
    if "log_prob" not in site:
        try:
            found = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
        except NotImplementedError as error:
            reason = str(error) or f"{type(site['fn']).__name__} has no log_prob, or no inverse"
            raise NoDensityError(f"site '{site['name']}' has no density: {reason}") from None
        except KeyError as error:  # of transformations that look their own draws up
            if not isinstance(site["fn"], TransformedDistribution):
                raise
            message = f"site '{site['name']}' has no density but at its own draws, for want of an inverse: {error}"
            raise NoDensityError(message) from None
        site["log_prob"] = scale_and_mask(found, site["scale"], site["mask"])
    value: Tensor = site["log_prob"]
    return value


def checked(trace: Trace) -> Trace:
    """The trace; where Pyro's validation is on, after Pyro's look for log-probabilities that are not finite."""
    if is_validation_enabled():
        try:
            trace.compute_log_prob()
        except (KeyError, NotImplementedError):
            for site in samples(trace):
                log_prob(site)  # whose error names the site
            raise
    return trace


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
