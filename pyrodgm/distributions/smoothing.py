"""Smoothings of a binary variable: densities r(zeta | z) that overlap, so that draws of a mixture have gradients."""

import math
from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from pyro.distributions import is_validation_enabled
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import into_open_interval, log1mexp, normal_cdf, wide
from pyrodgm.arithmetic.arguments import finite_number, validated

Bit = Literal[0, 1]


class Smoothing(ABC):
    """A pair of densities r(zeta | z = 0) and r(zeta | z = 1) that stand for a binary variable z.

    Parameters are numbers, which follow the dtype and device of the values, or tensors that broadcast with them and may
    carry gradients. ``z`` is 0 or 1 in every method; values and results are ``[*]``.
    """

    support: Any = constraints.unit_interval

    def __init__(self, beta: Tensor | float) -> None:
        require_positive("beta", beta)
        self.beta = beta

    @abstractmethod
    def log_prob(self, value: Tensor, z: Bit) -> Tensor:
        """Log r(value | z), in nats."""

    @abstractmethod
    def cdf(self, value: Tensor, z: Bit) -> Tensor:
        """Probability of at most ``value`` under r(zeta | z)."""

    @abstractmethod
    def icdf(self, probability: Tensor, z: Bit) -> Tensor:
        """The inverse of ``cdf``; draws when it is given uniform numbers. Its gradients are not for use."""

    def draw(self, uniform: Tensor, z: Tensor) -> Tensor:
        """Draws of r(zeta | z) from uniform numbers (or, where these fall short, others) and bits of one shape."""
        return torch.where(z > 0.5, self.icdf(uniform, 1), self.icdf(uniform, 0))

    @abstractmethod
    def moments(self, like: Tensor, z: Bit) -> tuple[Tensor, Tensor]:
        """Mean and mean square of r(zeta | z), in the dtype and on the device of ``like``."""

    def log_ratio(self, value: Tensor) -> Tensor:
        """Log r(value | 1) - log r(value | 0), the field that a value puts on its z."""
        return self.log_prob(value, 1) - self.log_prob(value, 0)

    def mixture_icdf(self, probability: Tensor, logits: Tensor) -> Tensor:
        """Quantile of (1 - q) r(zeta | 0) + q r(zeta | 1), q = sigmoid(logits), where that has a closed form."""
        raise NotImplementedError(f"the mixture of {type(self).__name__} has no inverse cdf in closed form")

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The parameters that are tensors."""
        return tuple(value for value in vars(self).values() if isinstance(value, Tensor))

    def equals(self, other: "Smoothing") -> bool:
        """Whether the other is of the same family with equal numbers and the same tensors as parameters."""
        if type(self) is not type(other):
            return False
        pairs = [(mine, vars(other)[name]) for name, mine in vars(self).items() if not isinstance(mine, Smoothing)]
        return all(a is b or (not isinstance(a, Tensor) and not isinstance(b, Tensor) and a == b) for a, b in pairs)

    def _given(self, parameter: Tensor | float, like: Tensor) -> Tensor:
        return parameter if isinstance(parameter, Tensor) else like.new_full((), parameter)

    def __repr__(self) -> str:
        shown = (f"{k}={list(v.shape) if isinstance(v, Tensor) else v}" for k, v in vars(self).items())
        return f"{type(self).__name__}({', '.join(shown)})"


class ExponentialSmoothing(Smoothing):
    r"""Truncated exponentials on [0, 1] that fall from either end.

    .. math:: r(\zeta \mid 0) = \frac{\beta e^{-\beta \zeta}}{1 - e^{-\beta}}, \qquad
        r(\zeta \mid 1) = r(1 - \zeta \mid 0)

    Args:
        beta: positive; inverse temperature, a number or a tensor.

    Raises:
        ValueError: ``beta`` is not positive; of a tensor with validation on.

    Source: Vahdat et al. (2018), DVAE++, arXiv 1802.04920, eq. 5.

    >>> ExponentialSmoothing(8.0).log_prob(torch.tensor([0.0, 0.5]), 0)
    tensor([ 2.0798, -1.9202])
    """

    def log_prob(self, value: Tensor, z: Bit) -> Tensor:
        beta = self._given(self.beta, value)
        return beta.log() - log1mexp(-beta) - beta * (1.0 - value if z else value)

    def log_ratio(self, value: Tensor) -> Tensor:
        return self._given(self.beta, value) * (2.0 * value - 1.0)

    def cdf(self, value: Tensor, z: Bit) -> Tensor:
        beta = self._given(self.beta, value)
        ratio = torch.expm1(-beta * value) / torch.expm1(-beta)
        # R(zeta | 1) = 1 - R(1 - zeta | 0), written so that nothing cancels near zero.
        return ratio * torch.exp(beta * (value - 1.0)) if z else ratio

    def icdf(self, probability: Tensor, z: Bit) -> Tensor:
        beta = self._given(self.beta, probability)
        rest = 1.0 - probability if z else probability
        value = -torch.log1p(torch.expm1(-beta) * rest) / beta
        return (1.0 - value if z else value).clamp(0.0, 1.0)

    def moments(self, like: Tensor, z: Bit) -> tuple[Tensor, Tensor]:
        beta = wide(self._given(self.beta, like))
        flat = beta < 0.02  # where the closed forms cancel, series of mean and variance
        safe = torch.where(flat, 1.0, beta)
        tail = 1.0 / torch.expm1(safe)
        mean = torch.where(flat, 0.5 - beta / 12.0 + beta**3 / 720.0, 1.0 / safe - tail)
        series = mean.square() + 1.0 / 12.0 - beta.square() / 240.0 + beta**4 / 6048.0
        return _reflected(mean, torch.where(flat, series, 2.0 * mean / safe - tail), z, like)

    def mixture_icdf(self, probability: Tensor, logits: Tensor) -> Tensor:
        beta = self._given(self.beta, probability)
        # With e = exp(-beta), exp(-beta zeta) = m is the positive root of (1-q) m^2 + b m - q e = 0, where
        # b = rho (1 - e) + q e - (1 - q). All in logarithms, since e and 1 - q underflow; each sign of b has the form
        # in which nothing cancels.
        log_q, log_p = logsigmoid(logits), logsigmoid(-logits)
        b = probability * -torch.expm1(-beta) + (log_q - beta).exp() - log_p.exp()
        log_root = 0.5 * torch.logaddexp(2.0 * b.abs().log(), log_q + log_p - beta + math.log(4.0))
        log_sum = torch.logaddexp(b.abs().log(), log_root)
        log_m = torch.where(b > 0.0, math.log(2.0) + log_q - beta - log_sum, log_sum - log_p - math.log(2.0))
        return (-log_m / beta).clamp(0.0, 1.0)


class UniformExponentialSmoothing(Smoothing):
    r"""Truncated exponentials on [0, 1] mixed with a uniform floor, so that the two overlap everywhere.

    .. math:: r(\zeta \mid 0) = (1 - \epsilon) \frac{\beta e^{-\beta \zeta}}{1 - e^{-\beta}} + \epsilon, \qquad
        r(\zeta \mid 1) = r(1 - \zeta \mid 0)

    Args:
        beta: positive; inverse temperature, a number or a tensor.
        epsilon: weight of the uniform part, in (0, 1).

    Raises:
        ValueError: ``beta`` is a number that is not positive, or ``epsilon`` is outside (0, 1).

    Source: Vahdat et al. (2018), DVAE#, arXiv 1805.07445, section 4.

    >>> UniformExponentialSmoothing(30.0).log_ratio(torch.tensor([0.0, 0.5, 1.0]))
    tensor([-6.3474,  0.0000,  6.3474])
    """

    def __init__(self, beta: Tensor | float, epsilon: float = 0.05) -> None:
        super().__init__(beta)
        self.epsilon = finite_number("epsilon", epsilon, above=0.0, below=1.0)
        self._peak = ExponentialSmoothing(beta)

    def log_prob(self, value: Tensor, z: Bit) -> Tensor:
        peak = self._peak.log_prob(value, z) + math.log1p(-self.epsilon)
        return torch.logaddexp(peak, torch.full_like(peak, math.log(self.epsilon)))

    def cdf(self, value: Tensor, z: Bit) -> Tensor:
        return (1.0 - self.epsilon) * self._peak.cdf(value, z) + self.epsilon * value

    def icdf(self, probability: Tensor, z: Bit) -> Tensor:
        """Quantiles by bisection of the cdf, to rounding."""
        low, high = torch.zeros_like(probability), torch.ones_like(probability)
        for _ in range(26 if probability.dtype == torch.float32 else 55):
            middle = 0.5 * (low + high)
            below = self.cdf(middle, z) < probability
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return 0.5 * (low + high)

    def draw(self, uniform: Tensor, z: Tensor) -> Tensor:
        epsilon = self.epsilon  # a uniform number chooses its part first, so that nothing need be inverted
        peaked = uniform >= epsilon
        rest = torch.where(peaked, (uniform - epsilon) / (1.0 - epsilon), uniform / epsilon)
        return torch.where(peaked, self._peak.draw(rest, z), rest)

    def moments(self, like: Tensor, z: Bit) -> tuple[Tensor, Tensor]:
        mean, square = self._peak.moments(like, z)
        epsilon = self.epsilon
        return (1.0 - epsilon) * mean + 0.5 * epsilon, (1.0 - epsilon) * square + epsilon / 3.0


class PowerSmoothing(Smoothing):
    r"""Power-function densities on [0, 1], one steep at either end.

    .. math:: r(\zeta \mid 0) = \lambda \zeta^{\lambda - 1}, \quad \lambda = 1 / \beta, \qquad
        r(\zeta \mid 1) = r(1 - \zeta \mid 0)

    The density is infinite at its end; a value there is taken at the nearest number inside (0, 1) of its dtype. So the
    field that a value puts on its z is at most 16 nats for values that float32 rounds to 1, 36 nats in float64: odds
    that decide z either way.

    Args:
        beta: positive; reciprocal of the exponent, a number or a tensor.

    Raises:
        ValueError: ``beta`` is not positive; of a tensor with validation on.

    Source: Vahdat et al. (2018), DVAE#, arXiv 1805.07445, section 4.

    >>> PowerSmoothing(40.0).cdf(torch.tensor([0.0, 0.01, 1.0]), 0)
    tensor([0.0000, 0.8913, 1.0000])
    """

    def log_prob(self, value: Tensor, z: Bit) -> Tensor:
        power = 1.0 / self._given(self.beta, value)
        inside = into_open_interval(value)
        return power.log() + (power - 1.0) * (torch.log1p(-inside) if z else inside.log())

    def log_ratio(self, value: Tensor) -> Tensor:
        inside = into_open_interval(value)
        return (1.0 / self._given(self.beta, value) - 1.0) * (torch.log1p(-inside) - inside.log())

    def cdf(self, value: Tensor, z: Bit) -> Tensor:
        power = 1.0 / self._given(self.beta, value)
        return -torch.expm1(power * torch.log1p(-value)) if z else (power * value.log()).exp()

    def icdf(self, probability: Tensor, z: Bit) -> Tensor:
        beta = self._given(self.beta, probability)
        return -torch.expm1(beta * torch.log1p(-probability)) if z else (beta * probability.log()).exp()

    def moments(self, like: Tensor, z: Bit) -> tuple[Tensor, Tensor]:
        power = 1.0 / wide(self._given(self.beta, like))
        return _reflected(power / (power + 1.0), power / (power + 2.0), z, like)


class GaussianSmoothing(Smoothing):
    r"""Normal densities around 0 and 1, on the real line.

    .. math:: r(\zeta \mid z) = N(\zeta;\ z + \text{shift},\ 1 / \beta)

    Args:
        beta: positive; precision, a number or a tensor.
        shift: real; moves both means, a number or a tensor.

    Raises:
        ValueError: ``beta`` is not positive; of a tensor with validation on.

    Source: Vahdat et al. (2018), DVAE#, arXiv 1805.07445, section 4; with a shift, its Gaussian integral.

    >>> GaussianSmoothing(25.0).log_ratio(torch.tensor([0.0, 0.5]))
    tensor([-12.5000,   0.0000])
    """

    support = constraints.real

    def __init__(self, beta: Tensor | float, shift: Tensor | float = 0.0) -> None:
        super().__init__(beta)
        if isinstance(shift, Tensor):
            validated(shift=shift)
        else:
            shift = finite_number("shift", shift)
        self.shift = shift

    def log_prob(self, value: Tensor, z: Bit) -> Tensor:
        beta = self._given(self.beta, value)
        return 0.5 * ((beta / (2.0 * math.pi)).log() - beta * (value - self.shift - z).square())

    def log_ratio(self, value: Tensor) -> Tensor:
        return self._given(self.beta, value) * (value - self.shift - 0.5)

    def cdf(self, value: Tensor, z: Bit) -> Tensor:
        return normal_cdf((value - self.shift - z) * self._given(self.beta, value).sqrt())

    def icdf(self, probability: Tensor, z: Bit) -> Tensor:
        inside = into_open_interval(probability)
        return torch.special.ndtri(inside) / self._given(self.beta, probability).sqrt() + self.shift + z

    def draw(self, uniform: Tensor, z: Tensor) -> Tensor:
        # a normal number of its own: the uniform one cannot reach far into both tails
        return z + self.shift + torch.randn_like(uniform) / self._given(self.beta, uniform).sqrt()

    def moments(self, like: Tensor, z: Bit) -> tuple[Tensor, Tensor]:
        mean = self._given(self.shift, like) + z
        return mean, mean.square() + 1.0 / self._given(self.beta, like)


def _reflected(mean: Tensor, square: Tensor, z: Bit, like: Tensor) -> tuple[Tensor, Tensor]:
    """Moments of zeta, or of 1 - zeta, from those of zeta."""
    if z:
        mean, square = 1.0 - mean, 1.0 - 2.0 * mean + square
    return mean.to(like.dtype), square.to(like.dtype)


def require_positive(name: str, value: Tensor | float) -> None:
    """Refuse a number that is not positive and finite; tensors are looked at where arguments are validated."""
    if not isinstance(value, Tensor):
        finite_number(name, value, above=0.0)
    elif is_validation_enabled():
        validated(**{name: value})
        if not (value > 0.0).all():
            raise ValueError(f"{name} must be positive, got {value.min():g}")
