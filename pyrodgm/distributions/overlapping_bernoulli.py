"""The overlapping relaxation of a Bernoulli variable."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import wide
from pyrodgm.arithmetic.arguments import tensors
from pyrodgm.distributions.moments import FromMoments
from pyrodgm.distributions.scalar import Scalar
from pyrodgm.distributions.smoothing import Smoothing


class OverlappingBernoulli(FromMoments, Scalar):
    r"""Marginal density of zeta, where z is Bernoulli and zeta is drawn from a smoothing of z.

    .. math:: q(\zeta) = (1 - q)\, r(\zeta \mid 0) + q\, r(\zeta \mid 1), \qquad q = \sigma(\text{logits})

    Draws are reparameterised by implicit differentiation, for the logits and for parameters of the smoothing that are
    tensors:

    .. math:: \frac{\partial \zeta}{\partial \theta} = -\frac{1}{q(\zeta)} \frac{\partial F(\zeta; \theta)}
        {\partial \theta}, \qquad \frac{\partial F}{\partial q} = R(\zeta \mid 1) - R(\zeta \mid 0)

    It is computed in log space: gradients are right, in float32 too, for logits from -20 to 20 and beta up to 40.
    Second derivatives of draws are not those of the quantile function.

    Args:
        logits: ``[*batch]``, real; log-odds of z = 1. Tensors of the smoothing broadcast with it.
        smoothing: the densities of zeta given z.

    Raises:
        ValueError: ``logits`` is not finite, ``beta`` of the smoothing is not positive, or a value lies outside the
            support (with validation on).

    Source: Vahdat et al. (2018), arXiv 1802.04920, eq. 6 (DVAE++); Vahdat et al. (2018), arXiv 1805.07445, eq. 8
    (implicit gradient, DVAE#).

    >>> from pyrodgm.distributions import PowerSmoothing
    >>> q = OverlappingBernoulli(torch.zeros(5, 200), PowerSmoothing(40.0)).to_event(1)
    >>> q.log_prob(q.rsample()).shape
    torch.Size([5])
    """

    logits: Tensor

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012
    has_rsample = True

    def __init__(self, logits: Tensor, smoothing: Smoothing, *, validate_args: bool | None = None) -> None:
        tensors(logits=logits)
        if not isinstance(smoothing, Smoothing):
            raise TypeError(f"smoothing must be a Smoothing, got {smoothing!r}")
        shape = torch.broadcast_shapes(logits.shape, *(value.shape for value in smoothing.tensors))
        self.smoothing = smoothing
        super().__init__(logits.expand(shape), validate_args=validate_args)
        if self._validate_args and isinstance(smoothing.beta, Tensor) and not (smoothing.beta > 0.0).all():
            raise ValueError(f"beta of the smoothing must be positive, got {smoothing.beta.min().item()}")

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return self.smoothing.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> "OverlappingBernoulli":
        new = super().expand(batch_shape, _instance)
        new.smoothing = self.smoothing
        return new

    @property
    def probs(self) -> Tensor:
        """Probability of z = 1, ``[*batch]``."""
        return self.logits.sigmoid()

    def _joint(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Log p(z, value) for z = 0 and z = 1."""
        smoothing = self.smoothing
        return (
            logsigmoid(-self.logits) + smoothing.log_prob(value, 0),
            logsigmoid(self.logits) + smoothing.log_prob(value, 1),
        )

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return torch.logaddexp(*self._joint(value))

    def posterior_logits(self, value: Tensor) -> Tensor:
        """Log-odds of z = 1 given ``value``, ``[*sample, *batch]``."""
        return self.logits + self.smoothing.log_ratio(value)

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        below, above = self.smoothing.cdf(value, 0), self.smoothing.cdf(value, 1)
        return (-self.logits).sigmoid() * below + self.logits.sigmoid() * above

    def icdf(self, value: Tensor) -> Tensor:
        """Quantiles, for a smoothing that has them in closed form (the exponential one)."""
        return self.smoothing.mixture_icdf(value, self.logits)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            shape, logits = self._extended_shape(sample_shape), self.logits
            # In float64: a uniform float32 is never below 6e-8 but 0.
            chance = torch.rand(shape, dtype=wide(logits).dtype, device=logits.device)
            uniform = torch.rand(shape, dtype=logits.dtype, device=logits.device)
            value = self.smoothing.draw(uniform, (chance < wide(logits).sigmoid()).to(logits.dtype))
            if self.smoothing.support is not constraints.unit_interval:
                return value
            # A value this near to 0 settles z; nearer still, the slope of its log-density would overflow.
            eps = torch.finfo(value.dtype).eps
            return value.clamp(eps**4, 1.0 - 0.5 * eps)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        value = self.sample(sample_shape)
        if not torch.is_grad_enabled():
            return value
        below, above = self.smoothing.cdf(value, 0), self.smoothing.cdf(value, 1)
        with torch.no_grad():
            log_density = self.log_prob(value)
            bernoulli_slope = logsigmoid(self.logits) + logsigmoid(-self.logits)
            by_logits = (below - above) * (bernoulli_slope - log_density).exp()
        value = value + by_logits * (self.logits - self.logits.detach())
        if not self.smoothing.tensors:
            return value
        logits = self.logits.detach()
        cdf = (-logits).sigmoid() * below + logits.sigmoid() * above
        return value - (cdf - cdf.detach()) * (-log_density).exp()

    def _moments(self) -> tuple[Tensor, Tensor]:
        (mean0, square0), (mean1, square1) = (self.smoothing.moments(self.logits, z) for z in (0, 1))
        p0, p1 = (-self.logits).sigmoid(), self.logits.sigmoid()
        return p0 * mean0 + p1 * mean1, p0 * square0 + p1 * square1
