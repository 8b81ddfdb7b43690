"""Distributions of the logits of the fractions that break a stick."""

from typing import Any

import torch
from pyro.distributions import Independent, TorchDistribution
from torch import Tensor
from torch.nn.functional import pad

from pyrodgm.arithmetic import wide
from pyrodgm.distributions.parameters import require_distributions
from pyrodgm.distributions.sticks import fractions_to_weights, sticks_to_mass


class StickLogits(Independent):
    r"""Logits of the ``K - 1`` independent fractions that break a stick into ``K`` weights.

    .. math:: y_k = \log v_k - \log(1 - v_k), \qquad \pi_k = v_k \prod_{j<k} (1 - v_j)

    This is the form in which sticks are latent: real, unconstrained and exact where weights underflow.
    :func:`pyrodgm.nn.stick_weights` (or the layer :class:`pyrodgm.nn.StickWeights`) makes weights of a draw. The
    divergence of two of them is that of their fractions.

    Args:
        logits: Distribution of the logits, ``[*batch, K - 1]`` in batch and ``[]`` in event shape, such as
            :class:`KumaraswamyLogit`; :func:`logits_of` makes one of any distribution on (0, 1).

    Raises:
        ValueError: ``logits`` is not of that form.

    Source: Sethuraman (1994), Statistica Sinica 4, 639; Nalisnick and Smyth (2017), arXiv 1605.06197, §3.

    >>> from pyrodgm.distributions import KumaraswamyLogit
    >>> sticks = StickLogits(KumaraswamyLogit(torch.ones(4, 9), torch.full((4, 9), 5.0)))
    >>> sticks.rsample().shape, sticks.mean_weights.shape
    (torch.Size([4, 9]), torch.Size([4, 10]))
    """

    def __init__(self, logits: TorchDistribution, *, validate_args: bool | None = None) -> None:
        require_distributions(logits=logits)
        if logits.event_shape or not logits.batch_shape:
            shapes = f"{list(logits.batch_shape)} and {list(logits.event_shape)}"
            raise ValueError(f"logits must have shapes [*batch, K - 1] and [], got {shapes}")
        super().__init__(logits, 1, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return super().expand(batch_shape, self._get_checked_instance(StickLogits, _instance))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.base_dist.log_prob(value).sum(-1)  # of empty batches too, which torch's own sum refuses

    @property
    def has_rsample(self) -> bool:
        """Whether draws are reparameterised."""
        return self.base_dist.has_rsample

    @has_rsample.setter
    def has_rsample(self, value: bool) -> None:
        self.base_dist.has_rsample = value

    @property
    def mean_weights(self) -> Tensor:
        """E[pi], ``[*batch, K]``."""
        return fractions_to_weights(self.base_dist.fraction_mean())

    @property
    def variance_weights(self) -> Tensor:
        """Variance of each weight, ``[*batch, K]``."""
        moments = self.base_dist.fraction_moments()
        mean, variance = (wide(moment) for moment in moments)
        square, rest = mean.square() + variance, (1.0 - mean).square()
        # With r the rest, Var(v r) = E[v^2] Var(r) + Var(v) E[r]^2, where nothing cancels. E[r^2] is a product over
        # the fractions before, and the share of E[r]^2 in it one of 1 / (1 + Var(v) / E[1 - v]^2).
        noise = torch.log1p(variance / rest.clamp(min=torch.finfo(rest.dtype).tiny)).cumsum(-1)
        left, noise = pad((rest + variance).cumprod(-1), (1, 0), value=1.0), pad(noise, (1, 0))
        of_fraction, of_left = pad(variance, (0, 1)), left * -torch.expm1(-noise)
        total = pad(square, (0, 1), value=1.0) * of_left + of_fraction * left * torch.exp(-noise)
        return total.to(moments[0].dtype)

    def num_sticks(self, mass: float = 0.99) -> Tensor:
        """How many of the first sticks hold the share ``mass`` in expectation, ``[*batch]``; at most K."""
        return sticks_to_mass(self.mean_weights, mass)
