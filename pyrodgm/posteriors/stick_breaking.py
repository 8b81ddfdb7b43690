"""Posteriors over sticks."""

import math
from collections.abc import Callable
from typing import Literal, get_args

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, finite_number, one_of
from pyrodgm.distributions import BetaLogit, GammaRatioLogit, KumaraswamyLogit, NormalLogit, StickLogits
from pyrodgm.processes import register_state

Fractions = Literal["kumaraswamy", "beta", "gamma", "logit_normal"]


class StickBreakingPosterior(nn.Module):
    r"""Logits of breaking fractions that are independent given the data, their parameters from a network.

    .. math:: q(y \mid x) = \prod_{k<K} q(y_k; [\mathrm{net}(x)]_k, [\mathrm{net}(x)]_{K-1+k}), \qquad
              v_k = \sigma(y_k), \quad \pi_k = v_k \prod_{j<k} (1 - v_j)

    :class:`pyrodgm.nn.StickWeights` makes the weights of a draw, in front of the network that takes them.

    The fractions v are one of

    - ``"kumaraswamy"``: Kumaraswamy(a, b), :class:`~pyrodgm.distributions.KumaraswamyLogit`;
    - ``"beta"``: Beta(a, b), :class:`~pyrodgm.distributions.BetaLogit`, with exact implicit gradients (Figurnov et al.
      2018, arXiv 1805.08498);
    - ``"gamma"``: :class:`~pyrodgm.distributions.GammaRatioLogit` (a, b), the paper's approximation for small shapes,
      its density that of what is drawn;
    - ``"logit_normal"``: :class:`~pyrodgm.distributions.NormalLogit` (loc, scale).

    The network gives the logarithms of a, b and scale, shifted so that an output of zero gives fractions like those of
    GEM(concentration), and cut off at 0.01 and at 10,000 (b of Kumaraswamy: 1,000,000; scale: 100). Fractions that are
    both small and narrow need a b that large, which the softplus of the published code does not reach. The last linear
    layer of the network is scaled by ``output_scale`` once, here, so that training starts near that prior.

    Args:
        net: Maps ``[*, ...]`` to ``[*, 2 * (K - 1)]``: all first parameters, then all second ones.
        fractions: Family of the fractions.
        concentration: Concentration of the GEM at which the posterior starts, from 0.1 to 100.
        output_scale: Factor on the weights of the network's last linear layer; 1 leaves them as they are.

    Called with what the network takes (data, or data and other latents) it returns a
    :class:`~pyrodgm.distributions.StickLogits`, ``[*]`` in batch and ``[K - 1]`` in event shape; its divergence from a
    :class:`~pyrodgm.distributions.GEMLogits` is exact. Called with other latents alone it is a conditional prior.

    Raises:
        ValueError: If ``fractions`` is unknown or ``concentration`` out of range.

    Source: Nalisnick and Smyth (2017), arXiv 1605.06197, §3.

    Example:
        >>> from pyrodgm.nn import Dense, mlp
        >>> posterior = StickBreakingPosterior(mlp(784, [500], 2 * 49, layer=Dense), "kumaraswamy", concentration=5.0)
        >>> posterior(torch.zeros(8, 784)).sample().shape
        torch.Size([8, 49])
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
        callables(net=net)
        one_of("fractions", fractions, get_args(Fractions))
        concentration = finite_number("concentration", concentration, 0.1, 100.0)
        output_scale = finite_number("output_scale", output_scale)
        self.net, self.fractions = net, fractions
        start = _logit_start if fractions == "logit_normal" else _start
        register_state(self, "replicated", "start", start(torch.tensor(concentration, dtype=torch.get_default_dtype())))
        linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
        if linear:
            with torch.no_grad():
                linear[-1].weight.mul_(output_scale)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        first, second = (self.net(*inputs).unflatten(-1, (2, -1)) + self.start).unbind(-2)
        return StickLogits(_FAMILIES[self.fractions](first, second))


def _positive(log: Tensor, largest: float = 1e4) -> Tensor:
    # Cut off first: the exponential of a larger one would send infinity times zero back.
    return log.clamp(math.log(0.01), math.log(largest)).exp()


def _start(concentration: Tensor) -> Tensor:
    """Logarithms of (1, concentration), ``[2, 1]``."""
    return torch.stack([torch.ones_like(concentration), concentration]).log().unsqueeze(-1)


def _logit_start(concentration: Tensor) -> Tensor:
    """Mean, and logarithm of the standard deviation, of the logit of Beta(1, concentration), ``[2, 1]``."""
    one = torch.ones_like(concentration)
    loc = torch.digamma(one) - torch.digamma(concentration)
    variance = torch.polygamma(1, one) + torch.polygamma(1, concentration)
    return torch.stack([loc, 0.5 * variance.log()]).unsqueeze(-1)


_FAMILIES: dict[str, Callable[[Tensor, Tensor], dist.TorchDistribution]] = {
    "kumaraswamy": lambda a, b: KumaraswamyLogit(_positive(a), _positive(b, 1e6)),
    "beta": lambda a, b: BetaLogit(_positive(a), _positive(b)),
    "gamma": lambda a, b: GammaRatioLogit(_positive(a), _positive(b)),
    "logit_normal": lambda loc, scale: NormalLogit(loc, _positive(scale, 100.0)),
}
