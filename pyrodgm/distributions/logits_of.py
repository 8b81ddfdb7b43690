"""The distribution of the logit for a distribution of fractions."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch.distributions.transforms import SigmoidTransform

from pyrodgm.distributions.logits.beta import BetaLogit
from pyrodgm.distributions.logits.change_of_variable import LogitOf
from pyrodgm.distributions.parameters import require_distributions
from pyrodgm.distributions.unit_interval import UnitInterval


def logits_of(fraction: Any) -> TorchDistribution:
    """The distribution of log v - log(1 - v) for one of v on (0, 1).

    Args:
        fraction: This library's distributions on (0, 1), Beta, and what is transformed by a sigmoid have one that is
            exact; any other is transformed by :class:`LogitOf`.

    >>> from pyro.distributions import Beta
    >>> type(logits_of(Beta(1.0, 5.0))).__name__
    'BetaLogit'
    """
    if isinstance(fraction, UnitInterval):
        return fraction.logits
    if isinstance(fraction, torch.distributions.Beta):
        return BetaLogit(fraction.concentration1, fraction.concentration0, validate_args=False)
    if isinstance(fraction, torch.distributions.TransformedDistribution) and not fraction.event_shape:
        *first, last = fraction.transforms
        if not first and isinstance(last, SigmoidTransform):
            return fraction.base_dist
    require_distributions(fraction=fraction)
    return LogitOf(fraction)
