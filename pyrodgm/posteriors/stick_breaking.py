"""Posteriors over stick weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyrodgm.distributions import Kumaraswamy, LogitNormal, SmallShapeGammaRatio, StickBreaking

Fractions = Literal["kumaraswamy", "beta", "gamma", "logit_normal"]
SMALLEST, LARGEST = 0.01, 1000.0  # the range in which every one of the distributions is tested


class StickBreakingPosterior(nn.Module):
    r"""Stick weights whose breaking fractions are independent given the data, their parameters from a network.

    .. math:: q(\pi \mid x) = \prod_{k<K} q(v_k; [\mathrm{net}(x)]_k, [\mathrm{net}(x)]_{K-1+k}), \qquad
              \pi_k = v_k \prod_{j<k} (1 - v_j)

    The fractions v are one of

    - ``"kumaraswamy"``: :class:`~pyrodgm.distributions.Kumaraswamy` (a, b);
    - ``"beta"``: Pyro's ``Beta`` (a, b), with exact implicit gradients (Figurnov et al. 2018, arXiv 1805.08498);
    - ``"gamma"``: :class:`~pyrodgm.distributions.SmallShapeGammaRatio` (a, b), the paper's approximation for small
      shapes, its density that of what is drawn;
    - ``"logit_normal"``: :class:`~pyrodgm.distributions.LogitNormal` (loc, scale).

    Positive parameters are softplus of the network's output, shifted so that an output of zero gives fractions like
    those of GEM(concentration), and cut off at 0.01 and 1,000. The last linear layer of the network is scaled by
    ``output_scale`` once, here, so that training starts near that prior.

    Args:
        net: Maps ``[*, ...]`` to ``[*, 2 * (K - 1)]``: all first parameters, then all second ones.
        fractions: Family of the fractions.
        concentration: Concentration of the GEM at which the posterior starts, from 0.1 to 100.
        output_scale: Factor on the weights of the network's last linear layer; 1 leaves them as they are.

    Called with data ``x`` it returns a :class:`~pyrodgm.distributions.StickBreaking` with batch shape ``[*]`` and event
    shape ``[K]``; its divergence from a :class:`~pyrodgm.distributions.GEM` is exact.

    Raises:
        ValueError: If ``fractions`` is unknown or ``concentration`` out of range.

    Source: Nalisnick and Smyth (2017), arXiv 1605.06197, §3.

    Example:
        >>> from pyrodgm.nn import Dense, mlp
        >>> posterior = StickBreakingPosterior(mlp(784, [500], 2 * 49, layer=Dense), "kumaraswamy", concentration=5.0)
        >>> posterior(torch.zeros(8, 784)).sample().shape
        torch.Size([8, 50])
    """

    start: Tensor

    def __init__(
        self,
        net: nn.Module,
        fractions: Fractions = "kumaraswamy",
        concentration: float = 1.0,
        output_scale: float = 0.1,
    ) -> None:
        super().__init__()
        if fractions not in get_args(Fractions):
            raise ValueError(f"fractions must be one of {', '.join(get_args(Fractions))}, got {fractions!r}")
        if not 0.1 <= concentration <= 100.0:
            raise ValueError(f"concentration must lie between 0.1 and 100, got {concentration}")
        self.net, self.fractions = net, fractions
        family = _FAMILIES[fractions]
        start = family.start(torch.tensor(concentration, dtype=torch.float64))
        self.register_buffer("start", start.to(torch.get_default_dtype()))
        linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
        if linear:
            with torch.no_grad():
                linear[-1].weight.mul_(output_scale)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        family = _FAMILIES[self.fractions]
        first, second = (self.net(x).unflatten(-1, (2, -1)) + self.start.unsqueeze(-1)).unbind(-2)
        return StickBreaking(
            family.make(first if family.first_is_real else _positive(first), _positive(second)).to_event(1)
        )


@dataclass(frozen=True)
class _Family:
    """How two real numbers become a distribution of fractions, and which ones give something like Beta(1, alpha)."""

    make: Callable[[Tensor, Tensor], dist.TorchDistribution]
    start: Callable[[Tensor], Tensor]
    first_is_real: bool = False


def _positive(raw: Tensor) -> Tensor:
    return softplus(raw).clamp(SMALLEST, LARGEST)


def _raw(positive: Tensor) -> Tensor:
    """The inverse of softplus."""
    return positive + torch.log(-torch.expm1(-positive))


def _beta_start(concentration: Tensor) -> Tensor:
    return _raw(torch.stack([torch.ones_like(concentration), concentration]))


def _logit_normal_start(concentration: Tensor) -> Tensor:
    """Mean and standard deviation of the logit of Beta(1, concentration)."""
    one = torch.ones_like(concentration)
    loc = torch.digamma(one) - torch.digamma(concentration)
    scale = (torch.polygamma(1, one) + torch.polygamma(1, concentration)).sqrt()
    return torch.stack([loc, _raw(scale)])


_FAMILIES = {
    "kumaraswamy": _Family(Kumaraswamy, _beta_start),
    "beta": _Family(dist.Beta, _beta_start),
    "gamma": _Family(SmallShapeGammaRatio, _beta_start),
    "logit_normal": _Family(LogitNormal, _logit_normal_start, first_is_real=True),
}
