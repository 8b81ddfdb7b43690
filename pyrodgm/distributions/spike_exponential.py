"""The spike-and-exponential distribution."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import wide
from pyrodgm.distributions.moments import FromMoments
from pyrodgm.distributions.scalar import Scalar
from pyrodgm.distributions.smoothing import ExponentialSmoothing

REFUSAL = (
    "a log-density with a point of mass at 0 has no gradient with respect to a draw; train it on its divergence, by "
    "pyrodgm.infer.ELBO or TraceMeanField_ELBO"
)


class _Refused(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise RuntimeError(REFUSAL)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        raise RuntimeError(REFUSAL)


def refuse_gradient(value: Tensor) -> Tensor:
    """The same value, through which no gradient comes back but an error: a jump would be missing from it."""
    return _Refused.apply(value)


class SpikeExponential(FromMoments, Scalar):
    r"""A binary variable z smoothed to zeta = 0 for z = 0 and to a rising exponential on (0, 1] for z = 1.

    .. math:: q(\zeta) = (1 - q)\, \delta(\zeta) + q\, \frac{\beta e^{\beta \zeta}}{e^\beta - 1}, \qquad
        q = \sigma(\text{logits})

    ``log_prob`` is with respect to a unit mass at 0 plus length. Draws are reparameterised by the quantile function,

    .. math:: \zeta = \frac 1\beta \log\left(1 + (e^\beta - 1) \frac{\rho - (1 - q)}{q}\right)
        \text{ for } \rho > 1 - q, \text{ else } 0, \qquad \rho \sim U(0, 1)

    which gives unbiased gradients of expectations of functions that are continuous at 0. A log-density is not: from a
    draw with a gradient no gradient comes back through ``log_prob``, but an error. Its expectation is in the divergence
    from this to :class:`SpikeBoltzmann` in ``torch.distributions.kl_divergence``, which :class:`pyrodgm.infer.ELBO` and
    ``TraceMeanField_ELBO`` use; ``bits`` carry the gradient that it needs.

    Args:
        logits: ``[*batch]``, real; log-odds of z = 1.
        beta: ``[*batch]``, positive; rate of the exponential.

    Raises:
        ValueError: ``logits`` is not finite, ``beta`` is not positive, or a value is outside [0, 1] (with validation
        on).
        RuntimeError: where ``log_prob`` of a draw is differentiated with respect to that draw.

    Source: Rolfe (2017), Discrete variational autoencoders, arXiv 1609.02200, section 2.1.

    >>> SpikeExponential(torch.zeros(3), 5.0).log_prob(torch.tensor([0.0, 0.5, 1.0]))
    tensor([-0.6931, -1.5769,  0.9231])
    """

    logits: Tensor
    beta: Tensor

    arg_constraints = {"logits": constraints.real, "beta": constraints.positive}  # noqa: RUF012
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor, beta: Tensor | float, *, validate_args: bool | None = None) -> None:
        self.smoothing = ExponentialSmoothing(beta)
        super().__init__(logits, beta, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "SpikeExponential":
        new = super().expand(batch_shape, _instance)
        new.smoothing = self.smoothing
        return new

    @property
    def probs(self) -> Tensor:
        """Probability of z = 1, ``[*batch]``."""
        return self.logits.sigmoid()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        value = refuse_gradient(value)
        above = logsigmoid(self.logits) + self.smoothing.log_prob(value, 1)
        return torch.where(value > 0.0, above, logsigmoid(-self.logits).expand(above.shape))

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        below = (-self.logits).sigmoid()
        return below + self.logits.sigmoid() * self.smoothing.cdf(value, 1)

    def icdf(self, value: Tensor) -> Tensor:
        log_rest = torch.log1p(-value) - logsigmoid(self.logits)
        above = log_rest < 0.0
        return torch.where(above, self._quantile(torch.where(above, log_rest, -1.0)), 0.0)

    def _quantile(self, log_rest: Tensor) -> Tensor:
        """The value above which there is the share exp(log_rest) of the exponential."""
        return (1.0 + torch.log1p(log_rest.exp() * torch.expm1(-self.beta)) / self.beta).clamp(min=0.0)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape, logits = self._extended_shape(sample_shape), self.logits
        # In float64: a uniform float32 is never below 6e-8 but 0.
        chance = torch.rand(shape, dtype=wide(logits).dtype, device=logits.device)
        rest = torch.rand(shape, dtype=logits.dtype, device=logits.device)
        log_q = logsigmoid(logits)
        # At a fixed rho the share (1 - rho) / q moves against q.
        value = self._quantile(rest.clamp(min=torch.finfo(rest.dtype).tiny).log() - (log_q - log_q.detach()))
        value = value.clamp(min=torch.finfo(value.dtype).tiny)
        return torch.where(chance < wide(logits.detach()).sigmoid(), value, 0.0)

    def bits(self, value: Tensor) -> Tensor:
        r"""Z of each draw, 0 or 1, with a gradient for functions that are linear in each z.

        .. math:: \frac{\partial z}{\partial q} = \frac{1 - z}{1 - q}

        With it, and with the gradient of the draw itself, the derivative of any function that is linear in each z and
        continuous in zeta is an unbiased estimate of that of its expectation.

        Source: Rolfe (2017), arXiv 1609.02200, eq. 12.
        """
        z = (value > 0.0).to(value.dtype)
        slope = (1.0 - z) * self.logits.detach().sigmoid()
        return z + slope * (self.logits - self.logits.detach())

    def _moments(self) -> tuple[Tensor, Tensor]:
        mean, square = self.smoothing.moments(self.logits, 1)
        return self.probs * mean, self.probs * square
