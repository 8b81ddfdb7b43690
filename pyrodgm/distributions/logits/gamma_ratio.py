"""The logit of a ratio of approximate Gamma draws of small shapes."""

from typing import Any

import torch
from torch import Tensor

from pyrodgm.arithmetic import wide
from pyrodgm.distributions.expected_softplus import expected_softplus_exponential
from pyrodgm.distributions.logits.logit import ConcentrationLogit
from pyrodgm.distributions.quadrature import exponential_nodes


class GammaRatioLogit(ConcentrationLogit):
    r"""Distribution of the logit of v = x / (x + y) for approximate Gamma draws x and y: an asymmetric Laplace one.

    .. math:: \log p(t) = \log \frac{ab}{a + b} + \begin{cases} a (t - c) & t < c \\ -b (t - c) & t \ge c \end{cases},
        \qquad c = \tfrac1a \log \Gamma(a + 1) - \tfrac1b \log \Gamma(b + 1)

    See :class:`SmallShapeGammaRatio` for x and y.

    Args:
        concentration1: ``[*batch]``, at least 1e-15; a.
        concentration0: ``[*batch]``, at least 1e-15; b.

    Raises:
        ValueError: A parameter is out of range (with validation on).

    Source: Nalisnick and Smyth (2017), arXiv 1605.06197, §3.1 (the sampler; the density is derived here).

    >>> GammaRatioLogit(torch.ones(3), torch.ones(3)).mean
    tensor([0., 0., 0.])
    """

    @property
    def mode(self) -> Tensor:
        """Where the density is largest, ``[*batch]``; c."""
        return self._narrow(self._wide_mode())

    def _wide_mode(self) -> Tensor:
        a, b = self._wide()
        return torch.lgamma(a + 1.0) / a - torch.lgamma(b + 1.0) / b

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        a, b = self._wide()
        like = a.detach().expand(self._extended_shape(sample_shape))
        first, second = (torch.empty_like(like, memory_format=torch.contiguous_format).exponential_() for _ in range(2))
        return self._narrow(self._wide_mode() - first / a + second / b)

    def _log_density(self, logit: Tensor) -> Tensor:
        # In float64: it is the distance from the mode that counts.
        a, b = self._wide()
        above = wide(logit) - self._wide_mode()
        return self._narrow(a.log() + b.log() - (a + b).log() + torch.where(above < 0, a, -b) * above)

    def cdf(self, value: Tensor) -> Tensor:
        a, b = self._wide()
        above = wide(value) - self._wide_mode()
        lower = b / (a + b) * (a * above.clamp(max=0.0)).exp()
        return self._narrow(torch.where(above < 0, lower, 1.0 - a / (a + b) * (-b * above.clamp(min=0.0)).exp()))

    def expected_logs(self) -> tuple[Tensor, Tensor]:
        a, b = self._wide()
        mode, single = self._wide_mode(), self.concentration1.dtype == torch.float32
        below = expected_softplus_exponential(mode, -1.0 / a, single)
        above = expected_softplus_exponential(mode, 1.0 / b, single)
        expected_log1m = -(b * below + a * above) / (a + b)
        return mode - 1.0 / a + 1.0 / b + expected_log1m, expected_log1m

    def negative_entropy(self, expected_log: Tensor, expected_log1m: Tensor) -> Tensor:
        a, b = self._wide()
        return a.log() + b.log() - (a + b).log() - 1.0

    def fraction_moments(self) -> tuple[Tensor, Tensor]:
        a, b = (x.unsqueeze(-1) for x in self._wide())
        mode, single = self._wide_mode().unsqueeze(-1), self.concentration1.dtype == torch.float32
        points, weights = exponential_nodes(a, 41, 2.75) if single else exponential_nodes(a, 97, 3.1)
        fraction = torch.cat([mode - points / a, mode + points / b], -1).sigmoid()
        weights = torch.cat([b * weights, a * weights], -1) / (a + b)
        mean = (weights * fraction).sum(-1, keepdim=True)
        return self._narrow(mean.squeeze(-1)), self._narrow((weights * (fraction - mean).square()).sum(-1))

    @property
    def variance(self) -> Tensor:
        a, b = self._wide()
        return self._narrow(a.square().reciprocal() + b.square().reciprocal())
