"""Distributions of stick weights on the simplex."""

from typing import Any

import torch
from pyro.distributions import Independent, TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid, pad

from pyrodgm.arithmetic import into_open_interval, wide
from pyrodgm.distributions._numeric import keep_logs
from pyrodgm.distributions.sticks import (
    _log_of_weights,
    _log_weights_to_logs,
    _logs_to_log_weights,
    fractions_to_weights,
    sticks_to_mass,
)


def _dtype_of(distribution: Any) -> torch.dtype:
    """That of the parameters, of a distribution or of that which it is made from; else the default dtype."""
    while not distribution.arg_constraints and hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    for name in distribution.arg_constraints:
        return getattr(distribution, name).dtype
    return torch.get_default_dtype()


class StickBreaking(TorchDistribution):
    r"""Distribution of ``K`` stick weights whose ``K - 1`` breaking fractions are independent.

    .. math:: \pi_k = v_k \prod_{j<k} (1 - v_j), \qquad
        \log p(\pi) = \sum_{k<K} \Big[ \log p_k(v_k) - \sum_{j<k} \log(1 - v_j) \Big]

    The density is with respect to the first ``K - 1`` weights, as that of ``Dirichlet``, which it equals for fractions
    Beta(alpha, (K - k) alpha). Draws are strictly positive and carry the logarithms of their weights, so that the
    density at a draw is right even where fractions round to 0 or 1 or weights underflow. Its pathwise gradient flows
    through the weights and so is lost for weights below 1e-32 in float32; the KL divergence has no such limit.

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
            raise ValueError(f"expected fractions with event dimension 1, made by .to_event(1), got {fractions}")
        if len(fractions.event_shape) != 1:
            raise ValueError(f"expected fractions of event shape [K - 1], got {tuple(fractions.event_shape)}")
        self._set(fractions)
        size = fractions.event_shape[0] + 1
        super().__init__(fractions.batch_shape, torch.Size((size,)), validate_args=validate_args)

    def _set(self, fractions: Independent) -> None:
        self.fractions = fractions
        self.has_rsample = fractions.has_rsample
        self._dtype = _dtype_of(fractions)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "StickBreaking":
        new = self._get_checked_instance(StickBreaking, _instance)
        batch_shape = torch.Size(batch_shape)
        new._set(self.fractions.expand(batch_shape))
        new.has_rsample = self.has_rsample
        super(StickBreaking, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _rsample_log_weights(self, sample_shape: Any) -> Tensor:
        base, sample_shape = self.fractions.base_dist, torch.Size(sample_shape)
        if hasattr(base, "_rsample_wide_logs"):
            return _logs_to_log_weights(*base._rsample_wide_logs(sample_shape))
        if isinstance(base, torch.distributions.Beta):
            # Gamma(c) = Gamma(c + 1) U^(1 / c), so that the logarithm never underflows.
            draws = []
            for concentration in (wide(base.concentration1), wide(base.concentration0)):
                concentration = concentration.expand(sample_shape + base.batch_shape)
                power = torch.empty_like(concentration).exponential_() / concentration
                draws.append(torch._standard_gamma(concentration + 1.0).log() - power)
            return _logs_to_log_weights(logsigmoid(draws[0] - draws[1]), logsigmoid(draws[1] - draws[0]))
        inside = wide(into_open_interval(base(sample_shape)))
        return _logs_to_log_weights(inside.log(), torch.log1p(-inside))

    def _narrow(self, result: Tensor) -> Tensor:
        return result.to(self._dtype)

    def rsample_logs(self, sample_shape: Any = ()) -> Tensor:
        """Log weights of one reparameterised draw, ``[*sample, *batch, K]``, exact where weights underflow."""
        return self._narrow(self._rsample_log_weights(sample_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return self._draw(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        if not self.has_rsample:
            raise NotImplementedError(f"fractions have no reparameterised sampler: {self.fractions}")
        return self._draw(sample_shape)

    def _draw(self, sample_shape: Any) -> Tensor:
        log_weights = self._rsample_log_weights(sample_shape)
        weights = self._narrow(log_weights.exp())
        fixed = weights.detach()
        weights = weights + (fixed.clamp(min=torch.finfo(weights.dtype).tiny) - fixed)
        return keep_logs(weights, log_weights)

    def log_prob_from_logs(self, log_weights: Tensor) -> Tensor:
        """Log-density of the weights (not of their logarithms) given log weights ``[..., K]``, ``[...]``."""
        base = self.fractions.base_dist
        log_v, log1m_v, left = _log_weights_to_logs(wide(log_weights))
        if hasattr(base, "log_prob_from_logs"):
            each = base.log_prob_from_logs(log_v, log1m_v)
        elif isinstance(base, torch.distributions.Beta):
            one, zero = wide(base.concentration1), wide(base.concentration0)
            log_norm = torch.lgamma(one) + torch.lgamma(zero) - torch.lgamma(one + zero)
            each = (one - 1.0) * log_v + (zero - 1.0) * log1m_v - log_norm
        else:
            each = base.log_prob(into_open_interval(self._narrow(log_v.exp())))
        return self._narrow((each - left).sum(-1))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.log_prob_from_logs(_log_of_weights(value))

    @property
    def mean(self) -> Tensor:
        return fractions_to_weights(self.fractions.mean)

    @property
    def variance(self) -> Tensor:
        mean, variance = wide(self.fractions.mean), wide(self.fractions.variance)
        square, rest = mean.square() + variance, (1.0 - mean).square()
        # With r what is left, Var(v r) = E[v^2] Var(r) + Var(v) E[r]^2, where nothing cancels. E[r^2] is a product over
        # the fractions before, and the share of E[r]^2 in it one of 1 / (1 + Var(v) / E[1 - v]^2).
        noise = torch.log1p(variance / rest.clamp(min=torch.finfo(rest.dtype).tiny)).cumsum(-1)
        left, noise = pad((rest + variance).cumprod(-1), (1, 0), value=1.0), pad(noise, (1, 0))
        of_fraction, of_left = pad(variance, (0, 1)), left * -torch.expm1(-noise)
        return self._narrow(pad(square, (0, 1), value=1.0) * of_left + of_fraction * left * torch.exp(-noise))

    def num_sticks(self, mass: float = 0.99) -> Tensor:
        """How many of the first sticks hold the share ``mass`` in expectation, ``[*batch]``; at most K."""
        return sticks_to_mass(self.mean, mass)
