"""A logistic distribution cut into bins, for grey values."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import log1mexp, wide
from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.distributions.scalar import Scalar


class DiscretizedLogistic(Scalar):
    r"""Probabilities of ``num_bins`` equally spaced values in [0, 1] under a logistic density.

    .. math:: P(x) = \sigma\!\Big(\frac{x + \delta/2 - \text{loc}}{s}\Big)
        - \sigma\!\Big(\frac{x - \delta/2 - \text{loc}}{s}\Big), \quad
        \delta = \frac{1}{\text{num\_bins} - 1}, \; s = e^{\text{log\_scale}}

    The values are k / (num_bins - 1), as image readers give them; the first and the last bin take the tails, so the
    probabilities sum to one. A value between two bins counts as the nearer one. The difference is taken as
    :math:`\log \sigma(u) + \log \sigma(-l) + \log(1 - e^{l-u})`, which is right at any scale.

    Args:
        loc: ``[*batch]``, real; centre.
        log_scale: ``[*batch]``, real; log of the logistic's scale.
        num_bins: at least 2.

    Raises:
        ValueError: ``num_bins`` is below 2, or a value is outside [0, 1] (with validation on).

    Source: Kingma et al. (2016), arXiv 1606.04934, appendix; Salimans et al. (2017), arXiv 1701.05517, §2.1.

    >>> pixels = DiscretizedLogistic(torch.tensor(0.5), torch.tensor(-3.0))
    >>> round(pixels.log_prob(pixels.enumerate_support()).exp().sum().item(), 5)
    1.0
    """

    loc: Tensor
    log_scale: Tensor

    arg_constraints = {"loc": constraints.real, "log_scale": constraints.real}  # noqa: RUF012
    support = constraints.unit_interval
    has_enumerate_support = True

    def __init__(
        self,
        loc: Tensor | float,
        log_scale: Tensor | float,
        num_bins: int = 256,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.num_bins = whole_number("num_bins", num_bins, 2)
        super().__init__(loc, log_scale, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "DiscretizedLogistic":
        new = super().expand(batch_shape, _instance)
        new.num_bins = self.num_bins
        return new

    def _bin(self, value: Tensor) -> Tensor:
        return (value * (self.num_bins - 1)).round().clamp(0, self.num_bins - 1)

    def _standardised_edge(self, edge: Tensor) -> Tensor:
        """(edge / (num_bins - 1) - loc) / scale."""
        # e^300 lets the difference of two edges stay finite for a scale of zero.
        return (edge / (self.num_bins - 1) - wide(self.loc)) * torch.exp(-wide(self.log_scale).clamp(min=-300.0))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        index = self._bin(wide(value))
        below, above = self._standardised_edge(index - 0.5), self._standardised_edge(index + 0.5)
        first, last = index == 0, index == self.num_bins - 1
        log_width = -wide(self.log_scale).clamp(min=-300.0) - math.log(self.num_bins - 1)
        # 1 - exp(-width) is the width itself to rounding, long before the width underflows.
        narrow = log_width < -37.0
        log_share = torch.where(narrow, log_width, log1mexp(-torch.where(narrow, 0.0, log_width).exp()))
        inner = torch.where(first | last, 0.0, log_share)
        log_prob = torch.where(last, 0.0, logsigmoid(above)) + torch.where(first, 0.0, logsigmoid(-below)) + inner
        return log_prob.to(self.loc.dtype)

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        # Rounding must not carry a bin's value below the bin; images are read in float32, whatever the dtype here.
        eps = max(torch.finfo(torch.float32).eps, torch.finfo(self.loc.dtype).eps)
        slack = min(max(1e-4, eps * self.num_bins), 0.5)
        index = (wide(value) * (self.num_bins - 1) + slack).floor()
        inside = torch.sigmoid(self._standardised_edge(index + 0.5))
        return torch.where(index >= self.num_bins - 1, 1.0, inside).to(self.loc.dtype)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            loc, scale = wide(self.loc), wide(self.log_scale).exp()
            uniform = torch.rand(self._extended_shape(sample_shape), dtype=loc.dtype, device=loc.device)
            value = loc + scale * torch.logit(uniform, eps=torch.finfo(loc.dtype).tiny)
            return (self._bin(value) / (self.num_bins - 1)).to(self.loc.dtype)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """The bins' values, ``[num_bins, *batch]``."""
        values = torch.arange(self.num_bins, dtype=self.loc.dtype, device=self.loc.device) / (self.num_bins - 1)
        values = values.reshape(-1, *[1] * len(self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values

    @property
    def mean(self) -> Tensor:
        centre, first, _ = self._moments()
        return ((centre + first) / (self.num_bins - 1)).to(self.loc.dtype)

    @property
    def variance(self) -> Tensor:
        _, first, second = self._moments()
        return ((second - first.square()) / (self.num_bins - 1) ** 2).to(self.loc.dtype)

    def _moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """c, E[K - c] and E[(K - c)^2] of the bin's number K, where c is the bin of the median.

        Sums over the probabilities P(K >= k) above c and P(K < k) up to it, one bin at a time: all at once would be
        hundreds of times the memory of a batch of images. Around c, little cancels in the variance.
        """
        loc, inverse_scale = wide(self.loc), torch.exp(-wide(self.log_scale).clamp(min=-300.0))
        centre = self._bin(loc.detach())
        first = second = torch.zeros_like(loc)
        for k in range(1, self.num_bins):
            weight = 2 * (k - centre) - 1
            tail = torch.sigmoid(weight.sign() * (loc - (k - 0.5) / (self.num_bins - 1)) * inverse_scale)
            first, second = first + weight.sign() * tail, second + weight.abs() * tail
        return centre, first, second
