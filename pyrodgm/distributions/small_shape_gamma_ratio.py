"""The ratio of two Gamma draws by the inverse distribution function for small shapes."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import wide
from pyrodgm.distributions.expected_softplus import expected_softplus_exponential
from pyrodgm.distributions.quadrature import exponential_nodes
from pyrodgm.distributions.scalar import UnitInterval


class SmallShapeGammaRatio(UnitInterval):
    r"""Distribution on (0, 1) of x / (x + y) for approximate Gamma draws x and y, good for small shapes.

    .. math:: x = (u\, a\, \Gamma(a))^{1/a}, \quad y = (u'\, b\, \Gamma(b))^{1/b}, \quad u, u' \sim U(0, 1)

    inverts the leading term of the Gamma distribution function. With exact draws the ratio would be Beta(a, b); this
    one's logit t has an asymmetric Laplace distribution, so that its own density is known in closed form:

    .. math:: \log p(t) = \log \frac{ab}{a + b} + \begin{cases} a (t - c) & t < c \\ -b (t - c) & t \ge c \end{cases},
        \qquad c = \tfrac1a \log \Gamma(a + 1) - \tfrac1b \log \Gamma(b + 1)

    It tends to Beta(a, b) as a and b tend to 0; for larger ones it is another distribution with the same tails: for
    (1, 5) its mean is 0.181 and not 0.167. Mean, variance and expected logarithms are quadratures with a relative error
    below 1e-9 for float64 parameters from 0.01 to 1,000, and 1e-6 for float32 ones.

    Args:
        concentration1: ``[*batch]``, positive; a.
        concentration0: ``[*batch]``, positive; b.

    Raises:
        ValueError: a parameter is not positive, or a value is outside [0, 1] (with validation on).

    Source: Nalisnick and Smyth (2017), arXiv 1605.06197, §3.1 (the sampler; the density is derived here).

    >>> SmallShapeGammaRatio(torch.ones(3), torch.ones(3)).mean
    tensor([0.5000, 0.5000, 0.5000])
    """

    concentration1: Tensor
    concentration0: Tensor

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}  # noqa: RUF012

    def __init__(
        self, concentration1: Tensor | float, concentration0: Tensor | float, *, validate_args: bool | None = None
    ) -> None:
        super().__init__(concentration1, concentration0, validate_args=validate_args)

    def _wide(self) -> tuple[Tensor, Tensor, Tensor]:
        """a, b and the logit's mode c."""
        a, b = wide(self.concentration1), wide(self.concentration0)
        return a, b, torch.lgamma(a + 1.0) / a - torch.lgamma(b + 1.0) / b

    def _narrow(self, result: Tensor) -> Tensor:
        return result.to(self.concentration1.dtype)

    def _rsample_wide_logs(self, sample_shape: Any) -> tuple[Tensor, Tensor]:
        a, b, mode = self._wide()
        like = mode.expand(self._extended_shape(sample_shape))
        first, second = (torch.empty_like(like, memory_format=torch.contiguous_format).exponential_() for _ in range(2))
        logit = mode - first / a + second / b
        return logsigmoid(logit), logsigmoid(-logit)

    def log_prob_from_logs(self, log_value: Tensor, log1m_value: Tensor) -> Tensor:
        a, b, mode = self._wide()
        log_v, log1m_v = wide(log_value), wide(log1m_value)
        above = log_v - log1m_v - mode
        slope = torch.where(above < 0, a, -b)
        return self._narrow(a.log() + b.log() - (a + b).log() + slope * above - log_v - log1m_v)

    def _cdf_from_logs(self, log_value: Tensor, log1m_value: Tensor) -> Tensor:
        a, b, mode = self._wide()
        above = log_value - log1m_value - mode
        lower = b / (a + b) * (a * above.clamp(max=0.0)).exp()
        return torch.where(above < 0, lower, 1.0 - a / (a + b) * (-b * above.clamp(min=0.0)).exp())

    def _logit_nodes(self) -> tuple[Tensor, Tensor]:
        """Logits ``[*batch, nodes]`` and the weights of an expectation over them."""
        a, b, mode = (x.unsqueeze(-1) for x in self._wide())
        single = self.concentration1.dtype == torch.float32
        points, weights = exponential_nodes(a, 41, 2.75) if single else exponential_nodes(a, 97, 3.1)
        logits = torch.cat([mode - points / a, mode + points / b], -1)
        return logits, torch.cat([b * weights, a * weights], -1) / (a + b)

    @property
    def mean(self) -> Tensor:
        logits, weights = self._logit_nodes()
        return self._narrow((weights * logits.sigmoid()).sum(-1))

    @property
    def variance(self) -> Tensor:
        logits, weights = self._logit_nodes()
        fraction = logits.sigmoid()
        mean = (weights * fraction).sum(-1, keepdim=True)
        return self._narrow((weights * (fraction - mean).square()).sum(-1))

    def _expected_logs(self) -> tuple[Tensor, Tensor]:
        """E[log v] and E[log(1 - v)], in float64."""
        a, b, mode = self._wide()
        single = self.concentration1.dtype == torch.float32
        below = expected_softplus_exponential(mode, -1.0 / a, single)
        above = expected_softplus_exponential(mode, 1.0 / b, single)
        expected_log1m = -(b * below + a * above) / (a + b)
        return mode - 1.0 / a + 1.0 / b + expected_log1m, expected_log1m

    def _negative_entropy(self) -> Tensor:
        a, b, _ = self._wide()
        expected_log, expected_log1m = self._expected_logs()
        return a.log() + b.log() - (a + b).log() - 1.0 - expected_log - expected_log1m
