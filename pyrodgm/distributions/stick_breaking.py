"""Distributions of stick weights on the simplex."""

from typing import Any

import torch
from pyro.distributions import Independent, TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid, pad

from pyrodgm.arithmetic import log_stick_weights, stick_logits, wide
from pyrodgm.distributions.logits_of import logits_of
from pyrodgm.distributions.stick_logits import StickLogits
from pyrodgm.distributions.sticks import log_of_weights


class StickBreaking(TorchDistribution):
    r"""Distribution of ``K`` stick weights whose ``K - 1`` breaking fractions are independent.

    .. math:: \pi_k = v_k \prod_{j<k} (1 - v_j), \qquad
        \log p(\pi) = \sum_{k<K} \Big[ \log p_k(v_k) - \sum_{j<k} \log(1 - v_j) \Big]

    The density is with respect to the first ``K - 1`` weights, as that of ``Dirichlet``, which it equals for fractions
    Beta(alpha, (K - k) alpha). The density is that of the weights it is given, as their dtype holds them: weights are
    at least 1.2e-38 in float32 and 1e-290 in float64, and what a fraction is where all later weights lie at that
    end is lost. With concentrations below 0.1 in float32 that is so for many draws; :class:`StickLogits`, the form in
    which models have sticks, has no such limit.

    Args:
        fractions: distribution on (0, 1) of batch shape ``[*batch]`` and event shape ``[K - 1]``, made by
            ``.to_event(1)``: ``Kumaraswamy``, ``LogitNormal``, Pyro's ``Beta``, or any other that Pyro has.

    Raises:
        ValueError: ``fractions`` is not of that form.

    Source: Sethuraman (1994), Statistica Sinica 4, 639; Nalisnick and Smyth (2017), arXiv 1605.06197, §3.

    >>> from pyrodgm.distributions import Kumaraswamy
    >>> sticks = StickBreaking(Kumaraswamy(torch.ones(4, 9), torch.full((4, 9), 5.0)).to_event(1))
    >>> sticks.rsample().shape, sticks.log_prob(sticks.rsample()).shape
    (torch.Size([4, 10]), torch.Size([4]))
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.simplex
    has_rsample = True

    def __init__(self, fractions: Independent, *, validate_args: bool | None = None) -> None:
        if not isinstance(fractions, torch.distributions.Independent) or fractions.reinterpreted_batch_ndims != 1:
            raise ValueError(f"fractions must have event dimension 1, made by .to_event(1), got {fractions}")
        if len(fractions.event_shape) != 1:
            raise ValueError(f"fractions must be of event shape [K - 1], got {list(fractions.event_shape)}")
        self._set(fractions)
        size = fractions.event_shape[0] + 1
        super().__init__(fractions.batch_shape, torch.Size((size,)), validate_args=validate_args)

    def _set(self, fractions: Independent) -> None:
        self.fractions = fractions
        self.has_rsample = fractions.has_rsample

    def expand(self, batch_shape: Any, _instance: Any = None) -> "StickBreaking":
        new = self._get_checked_instance(StickBreaking, _instance)
        batch_shape = torch.Size(batch_shape)
        new._set(self.fractions.expand(batch_shape))
        new.has_rsample = self.has_rsample
        super(StickBreaking, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def logits(self) -> StickLogits:
        """The distribution of the logits of the fractions."""
        return StickLogits(logits_of(self.fractions.base_dist), validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return _weights(self.logits.sample(torch.Size(sample_shape)))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        if not self.has_rsample:
            raise NotImplementedError(f"fractions have no reparameterised sampler: {self.fractions}")
        return _weights(self.logits.rsample(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits = stick_logits(log_of_weights(value))
        # The derivative of the weights by the logits: v (1 - v) times the remaining stick, for each fraction.
        log_v, log1m_v = logsigmoid(logits), logsigmoid(-logits)
        left = pad(log1m_v.cumsum(-1)[..., :-1], (1, 0))
        density = self.logits.base_dist.log_prob(logits.to(value.dtype))
        return (density - (log_v + log1m_v + left)).sum(-1).to(value.dtype)

    @property
    def mean(self) -> Tensor:
        return self.logits.mean_weights

    @property
    def variance(self) -> Tensor:
        return self.logits.variance_weights

    def num_sticks(self, mass: float = 0.99) -> Tensor:
        """How many of the first sticks hold the share ``mass`` in expectation, ``[*batch]``; at most K."""
        return self.logits.num_sticks(mass)


def _weights(logits: Tensor) -> Tensor:
    weights = log_stick_weights(wide(logits)).exp().to(logits.dtype)
    fixed = weights.detach()
    return weights + (fixed.clamp(min=max(torch.finfo(weights.dtype).tiny, 1e-290)) - fixed)
