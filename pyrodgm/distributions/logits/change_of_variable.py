"""The logit of a fraction of any distribution on (0, 1)."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from pyrodgm.arithmetic import into_open_interval, unit_logit
from pyrodgm.distributions.parameters import require_distributions


class LogitOf(TorchDistribution):
    r"""Distribution of the logit of a fraction v by the change of variable.

    .. math:: \log p(y) = \log p_v(\sigma(y)) + \log \sigma(y) + \log \sigma(-y)

    It sees v as its dtype does, which near 1 is to 6e-8 in float32; the distributions of the logits themselves
    (:class:`KumaraswamyLogit`, :class:`BetaLogit`, ...) are exact there.

    Args:
        fraction: Distribution on (0, 1), of batch shape ``[*batch]`` and event shape ``[]``.

    Raises:
        ValueError: ``fraction`` has event dimensions.

    >>> from pyro.distributions import Uniform
    >>> LogitOf(Uniform(0.0, 1.0)).log_prob(torch.tensor(0.0)).exp()
    tensor(0.2500)
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real

    def __init__(self, fraction: TorchDistribution, *, validate_args: bool | None = None) -> None:
        require_distributions(fraction=fraction)
        if fraction.event_shape:
            raise ValueError(f"fraction must be of event shape [], got {list(fraction.event_shape)}")
        self.fraction, self.has_rsample = fraction, fraction.has_rsample
        super().__init__(fraction.batch_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "LogitOf":
        new = self._get_checked_instance(LogitOf, _instance)
        new.fraction, new.has_rsample = self.fraction.expand(torch.Size(batch_shape)), self.has_rsample
        super(LogitOf, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return _logit(self.fraction.sample(torch.Size(sample_shape)))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        if not self.has_rsample:
            raise NotImplementedError(f"fractions have no reparameterised sampler: {self.fraction}")
        return _logit(self.fraction.rsample(torch.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        inside = into_open_interval(value.sigmoid())
        return self.fraction.log_prob(inside) + logsigmoid(value) + logsigmoid(-value)

    def fraction_mean(self) -> Tensor:
        """Mean of the fraction, ``[*batch]``."""
        return self.fraction.mean

    def fraction_moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of the fraction, ``[*batch]`` each."""
        return self.fraction.mean, self.fraction.variance


def _logit(fraction: Tensor) -> Tensor:
    return unit_logit(fraction).to(fraction.dtype)
