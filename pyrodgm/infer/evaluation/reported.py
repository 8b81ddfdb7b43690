"""What is reported of a latent site: its own values, or the weights where it holds logits of sticks."""

from typing import Any

import torch
from torch import Tensor

from pyrodgm.distributions import StickLogits
from pyrodgm.infer.estimators.reading import fn_of
from pyrodgm.infer.tracing.kept_calls import Randomness
from pyrodgm.nn import stick_weights

DRAWS = 16  # where a distribution has no mean in closed form


def reported_name(site: Any) -> str:
    """The name under which a site of the guide is reported: its own, or that in ``infer={"weights": name}``."""
    return site["infer"].get("weights", site["name"])


def reported_mean(site: Any) -> tuple[Tensor, bool]:
    """Mean of a site's distribution, of sticks that of the weights, and whether it is an estimate from draws.

    Some distributions have a mean given a draw of a part; where there is none at all, that of draws stands for it.
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
    """A site's value; of sticks the weights."""
    return _reported(site, site["value"])


def _reported(site: Any, value: Tensor) -> Tensor:
    return stick_weights(value) if _holds_sticks(site) else value


def _holds_sticks(site: Any) -> bool:
    return "weights" in site["infer"] or isinstance(fn_of(site), StickLogits)


def _sticks(site: Any) -> StickLogits | None:
    """The sticks of a site whose mean is known: those of a recurrent network depend on each other."""
    fn = fn_of(site)
    # ``to_event`` takes what is already an Independent apart, so that of sticks side by side the name is all there is.
    if "weights" in site["infer"] and isinstance(fn, torch.distributions.Independent):
        return StickLogits(fn.base_dist, validate_args=False)
    return fn if isinstance(fn, StickLogits) else None
