"""What is reported of a latent site: its own values, or the weights where it holds logits of sticks."""

from typing import Any

import torch
from torch import Tensor

from pyrodgm.distributions import StickLogits
from pyrodgm.nn import stick_weights


def reported_name(site: Any) -> str:
    """The name under which a site of the guide is reported: its own, or that in ``infer={"weights": name}``."""
    return site["infer"].get("weights", site["name"])


def reported_mean(site: Any) -> Tensor:
    """Mean of a site's distribution; of sticks that of the weights."""
    sticks = _sticks(site)
    return site["fn"].mean if sticks is None else sticks.mean_weights


def reported_value(site: Any) -> Tensor:
    """A site's value; of sticks the weights."""
    return site["value"] if _sticks(site) is None else stick_weights(site["value"])


def _sticks(site: Any) -> StickLogits | None:
    fn = site["fn"]
    # ``to_event`` takes what is already an Independent apart, so that of sticks side by side the name is all there is.
    if "weights" in site["infer"] and isinstance(fn, torch.distributions.Independent):
        return StickLogits(fn.base_dist, validate_args=False)
    return fn if isinstance(fn, StickLogits) else None
