"""Values and means reported for latent sites: stick-breaking weights for sites of stick logits, else the value."""

from typing import Any

import torch
from torch import Tensor

from pyrodgm.distributions import StickLogits
from pyrodgm.infer.estimators.reading import fn_of
from pyrodgm.infer.tracing.kept_calls import Randomness
from pyrodgm.nn import stick_weights

DRAWS = 16  # draws that are averaged where a distribution has no mean in closed form


def reported_name(site: Any) -> str:
    """Name under which a site of the guide is reported: ``infer={"weights": name}`` if given, else the site's name."""
    return site["infer"].get("weights", site["name"])


def reported_mean(site: Any) -> tuple[Tensor, bool]:
    """Mean of a site's distribution (of the weights, for sticks), and whether random draws entered it.

    Draws enter where a distribution computes its mean given a draw of one of its parts, and where it has no mean in
    closed form, so that the mean of several draws is used.
    """
    sticks = _sticks(site)
    with Randomness() as randomness:
        try:
            mean = _mean(site) if sticks is None else sticks.mean_weights
        except NotImplementedError:
            mean = _reported(site, site["fn"].sample((DRAWS,))).mean(0)
    return mean, randomness.found


def _mean(site: Any) -> Tensor:
    if _holds_sticks(site):
        raise NotImplementedError("the mean of the logits is not that of the weights")
    return site["fn"].mean


def reported_value(site: Any) -> Tensor:
    """A site's value; for sticks, the weights."""
    return _reported(site, site["value"])


def _reported(site: Any, value: Tensor) -> Tensor:
    return stick_weights(value) if _holds_sticks(site) else value


def _holds_sticks(site: Any) -> bool:
    return "weights" in site["infer"] or isinstance(fn_of(site), StickLogits)


def _sticks(site: Any) -> StickLogits | None:
    """The stick distribution of a site if the mean of its weights is known; None otherwise (dependent sticks, say)."""
    fn = fn_of(site)
    # ``to_event`` unwraps an Independent, so independent sticks are recognised by ``infer["weights"]`` alone.
    if "weights" in site["infer"] and isinstance(fn, torch.distributions.Independent):
        return StickLogits(fn.base_dist, validate_args=False)
    return fn if isinstance(fn, StickLogits) else None
