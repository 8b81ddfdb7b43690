"""The logit of a Beta fraction."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import with_slopes
from pyrodgm.arithmetic._compat import standard_gamma, standard_gamma_with_slope
from pyrodgm.distributions.logits.logit import ConcentrationLogit


class BetaLogit(ConcentrationLogit):
    r"""Distribution of the logit of v ~ Beta(a, b).

    .. math:: \log p(y) = a \log v + b \log(1 - v) - \log B(a, b), \qquad v = \sigma(y)

    A draw is the difference of the logarithms of two Gamma draws, each :math:`\log G(c + 1) + \tfrac1c \log u`, which
    do not underflow; its derivatives are the implicit ones.

    Args:
        concentration1: ``[*batch]``, at least 1e-15; a.
        concentration0: ``[*batch]``, at least 1e-15; b.

    Raises:
        ValueError: A parameter is out of range (with validation on).

    Source: Figurnov, Mohamed, Mnih (2018), arXiv 1805.08498 (implicit derivatives).

    >>> BetaLogit(torch.ones(3), torch.full((3,), 5.0)).log_prob(torch.zeros(3)).exp()
    tensor([0.0781, 0.0781, 0.0781])
    """

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        parameters = [c.detach().expand(shape).contiguous() for c in self._wide()]
        if not torch.is_grad_enabled():
            first, second = (standard_gamma(c + 1.0).log() - _power(c) for c in parameters)
            return self._narrow(first - second)
        (first, by_a), (second, by_b) = (_log_gamma(c) for c in parameters)
        given = (self.concentration1, self.concentration0)
        return with_slopes(self._narrow(first - second), given, [self._narrow(by_a), self._narrow(-by_b)])

    def log_normalizer(self) -> Tensor:
        """Log B(a, b), ``[*batch]`` in float64."""
        a, b = self._wide()
        return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)

    def _log_density(self, logit: Tensor) -> Tensor:
        log_v, log1m_v = logsigmoid(logit), logsigmoid(-logit)
        return self.concentration1 * log_v + self.concentration0 * log1m_v - self._narrow(self.log_normalizer())

    def expected_logs(self) -> tuple[Tensor, Tensor]:
        a, b = self._wide()
        total = torch.digamma(a + b)
        return torch.digamma(a) - total, torch.digamma(b) - total

    def negative_entropy(self, expected_log: Tensor, expected_log1m: Tensor) -> Tensor:
        a, b = self._wide()
        return a * expected_log + b * expected_log1m - self.log_normalizer()

    def fraction_moments(self) -> tuple[Tensor, Tensor]:
        a, b = self._wide()
        mean = a / (a + b)
        return self._narrow(mean), self._narrow(mean * b / ((a + b) * (a + b + 1.0)))

    @property
    def variance(self) -> Tensor:
        a, b = self._wide()
        return self._narrow(torch.polygamma(1, a) + torch.polygamma(1, b))


def _log_gamma(concentration: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithm of a Gamma draw and its derivative by the concentration."""
    draw, slope = standard_gamma_with_slope(concentration + 1.0)
    power = _power(concentration)
    return draw.log() - power, slope / draw + power / concentration


def _power(concentration: Tensor) -> Tensor:
    """Minus the logarithm of u^(1 / concentration) for uniform u."""
    return torch.empty_like(concentration).exponential_() / concentration
