"""The Bernoulli log-density of grey values."""

from pyro.distributions import Bernoulli
from torch.distributions import constraints


class GreyBernoulli(Bernoulli):
    r"""The Bernoulli log-density continued to values between 0 and 1: minus the cross-entropy of a grey value.

    .. math:: \log \tilde p(x) = x \log p + (1 - x) \log(1 - p), \qquad x \in [0, 1]

    Over [0, 1] this is no density: its integral is at most 0.5. Draws are 0 or 1.

    Args:
        probs: ``[*]`` in [0, 1]; p.
        logits: ``[*]``; log p - log(1 - p), instead of ``probs``.

    Raises:
        ValueError: If not exactly one of them is given, or a value is outside [0, 1] (with validation on).

    Example:
        >>> import torch
        >>> GreyBernoulli(probs=torch.tensor(0.25)).log_prob(torch.tensor(0.5)).exp().square()
        tensor(0.1875)
    """

    support = constraints.unit_interval
