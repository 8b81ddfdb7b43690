"""The negative binomial distribution by mean and inverse dispersion, plain and with more zeros."""

from typing import Any

import torch
import torch.nn.functional as F
from pyro.distributions import constraints
from torch import Tensor

from pyrodgm.arithmetic import LOG_2PI, log1p_minus, stirling_error
from pyrodgm.distributions.scalar import Scalar


class NegativeBinomialCounts(Scalar):
    r"""Counts with a negative binomial distribution, by the logarithms of mean and inverse dispersion.

    .. math:: p(x) = \frac{\Gamma(x + \theta)}{\Gamma(\theta)\, x!} \Bigl(\frac{\theta}{\theta + \mu}\Bigr)^\theta
              \Bigl(\frac{\mu}{\theta + \mu}\Bigr)^x, \qquad \mathrm{E}\, x = \mu, \quad
              \mathrm{Var}\, x = \mu + \mu^2 / \theta

    A Poisson variable whose mean has a Gamma distribution of shape theta; the Poisson distribution itself as theta
    grows. The log-probability is a saddle-point expansion (Loader 2000), to rounding at every mean, dispersion and
    count, in float32 too, where the logarithms of Gamma functions are large and cancel.

    Args:
        log_mean: ``[*batch]``, real; log mu.
        log_inverse_dispersion: ``[*batch]``, real; log theta. Theta itself must be a number of the dtype: within e^-80
            and e^80 in float32.

    Raises:
        ValueError: A value is no whole number from 0 (with validation on).

    Source: the parameters of Lopez et al. (2018), "Deep generative modeling for single-cell transcriptomics".

    >>> NegativeBinomialCounts(torch.tensor([0.0, 9.0]), torch.tensor(12.0)).log_prob(torch.tensor([0.0, 8103.0]))
    tensor([-1.0000, -5.4432])
    """

    log_mean: Tensor
    log_inverse_dispersion: Tensor

    arg_constraints = {"log_mean": constraints.real, "log_inverse_dispersion": constraints.real}  # noqa: RUF012
    support = constraints.nonnegative_integer

    def __init__(
        self, log_mean: Tensor | float, log_inverse_dispersion: Tensor | float, *, validate_args: bool | None = None
    ) -> None:
        super().__init__(log_mean, log_inverse_dispersion, validate_args=validate_args)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(sample_shape)
            relative = torch._standard_gamma(self.log_inverse_dispersion.exp().expand(shape))
            return torch.poisson((self.log_mean - self.log_inverse_dispersion).exp() * relative)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return torch.where(
            value == 0,
            log_zero(self.log_mean, self.log_inverse_dispersion),
            log_positive(value, self.log_mean, self.log_inverse_dispersion),
        )

    @property
    def mean(self) -> Tensor:
        """The parameter mu, ``[*batch]``."""
        return self.log_mean.exp()

    @property
    def variance(self) -> Tensor:
        """That is mu + mu^2 / theta, ``[*batch]``."""
        return self.mean + (2.0 * self.log_mean - self.log_inverse_dispersion).exp()


class ZeroInflatedNegativeBinomialCounts(Scalar):
    r"""Negative binomial counts that are set to zero with some probability.

    .. math:: p(x) = \pi\, [x = 0] + (1 - \pi)\, \mathrm{NB}(x; \mu, \theta), \qquad \pi = \mathrm{sigmoid}(g)

    Args:
        log_mean: ``[*batch]``, real; log mu, of the counts before some become zero.
        log_inverse_dispersion: ``[*batch]``, real; log theta, in the range of :class:`NegativeBinomialCounts`.
        gate_logits: ``[*batch]``, real; g, the logit of the probability of a further zero.

    Raises:
        ValueError: A value is no whole number from 0 (with validation on).

    Source: Lopez et al. (2018), "Deep generative modeling for single-cell transcriptomics".

    >>> ZeroInflatedNegativeBinomialCounts(2.0, 0.0, torch.tensor([-60.0, 0.0])).log_prob(torch.tensor([0.0, 0.0]))
    tensor([-2.1269, -0.5805])
    """

    log_mean: Tensor
    log_inverse_dispersion: Tensor
    gate_logits: Tensor

    arg_constraints = {**NegativeBinomialCounts.arg_constraints, "gate_logits": constraints.real}  # noqa: RUF012
    support = constraints.nonnegative_integer

    def __init__(
        self,
        log_mean: Tensor | float,
        log_inverse_dispersion: Tensor | float,
        gate_logits: Tensor | float,
        *,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(log_mean, log_inverse_dispersion, gate_logits, validate_args=validate_args)

    @property
    def base(self) -> NegativeBinomialCounts:
        """The counts before some become zero."""
        return NegativeBinomialCounts(self.log_mean, self.log_inverse_dispersion, validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            kept = torch.bernoulli((-self.gate_logits).sigmoid().expand(self._extended_shape(sample_shape)))
            return kept * self.base.sample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        log_gate, log_kept = F.logsigmoid(self.gate_logits), F.logsigmoid(-self.gate_logits)
        return torch.where(
            value == 0,
            torch.logaddexp(log_gate, log_kept + log_zero(self.log_mean, self.log_inverse_dispersion)),
            log_kept + log_positive(value, self.log_mean, self.log_inverse_dispersion),
        )

    @property
    def mean(self) -> Tensor:
        """That is (1 - pi) mu, ``[*batch]``."""
        return (-self.gate_logits).sigmoid() * self.log_mean.exp()

    @property
    def variance(self) -> Tensor:
        """That is (1 - pi) (mu + mu^2 / theta + pi mu^2), ``[*batch]``."""
        kept, gate = (-self.gate_logits).sigmoid(), self.gate_logits.sigmoid()
        return kept * (self.base.variance + gate * (2.0 * self.log_mean).exp())


def log_zero(log_mean: Tensor, log_theta: Tensor) -> Tensor:
    """Log-probability of a count of zero."""
    ratio = log_mean - log_theta
    return -log_theta.exp() * torch.logaddexp(ratio, torch.zeros_like(ratio))


def log_positive(value: Tensor, log_mean: Tensor, log_theta: Tensor) -> Tensor:
    """Log-probability of counts from 1; that of 1 for those below.

    With t = mu / x - 1 and u = (mu - x) / (theta + x) it is x log1p(t) - (theta + x) log1p(u) and terms that do not
    cancel. Where u is small, the term of first order, mu - x in both, is taken out of both logarithms; elsewhere the
    two are put together by theta, which may be much smaller than x and mu.
    """
    x, log_mean, log_theta = torch.broadcast_tensors(value.clamp(min=1.0), log_mean, log_theta)
    log_x, theta = x.log(), log_theta.exp()
    total = theta + x
    excess = log_mean.detach().exp() - x
    t_near, u_near = (excess / x).abs() < 0.1, (excess / total).abs() < 0.1  # the first implies the second
    # Each branch gets an input that is safe for it: the branch not taken sends a gradient too.
    difference = torch.where(u_near, log_mean, log_x).exp() - x
    relative = torch.where(t_near, log_mean - log_x, 0.0).expm1()
    first = torch.where(t_near, x * log1p_minus(relative), x * (log_mean - log_x) - difference)
    near = first - total * log1p_minus(torch.where(u_near, difference / total, 0.0))
    ratio = log_theta - log_mean
    of_mean = torch.logaddexp(ratio, torch.zeros_like(ratio))  # log(1 + theta / mu)
    far = theta * (total.log() - log_mean - of_mean) + x * (torch.log1p(theta / x) - of_mean)
    correction = stirling_error(total) - stirling_error(theta) - stirling_error(x)
    return torch.where(u_near, near, far) + correction + 0.5 * (log_theta - total.log() - log_x - LOG_2PI)
