"""The posterior of library sizes."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, finite_number
from pyrodgm.nn import log_library_size


class LibraryPosterior(nn.Module):
    r"""A log-normal library size around the sum of the counts.

    .. math:: q(\log \ell \mid x) = \mathcal N\bigl(\log n + \delta, e^{\lambda} / n\bigr), \qquad
              n = \max(1, \textstyle\sum_g x_g), \quad [\delta, \lambda] = \mathrm{net}(\log(1 + x))

    An output of zero is the posterior of Poisson counts under a flat prior, to first order in 1 / n. The last linear
    layer of the network is scaled by ``output_scale`` once, here, so that training starts near it.

    Args:
        net: Maps ``[*, G]`` to ``[*, 2]``; delta is cut off at -4 and 4, lambda at -6 and 6.
        output_scale: Factor on the weights of the network's last linear layer; 1 leaves them as they are.

    Called with counts ``[*, G]`` it returns a distribution with batch shape ``[*]`` and event shape ``[1]``.

    Example:
        >>> from pyrodgm.nn import mlp
        >>> LibraryPosterior(mlp(4, [8], 2))(torch.ones(3, 4)).sample().shape
        torch.Size([3, 1])
    """

    def __init__(self, net: nn.Module, output_scale: float = 0.1) -> None:
        super().__init__()
        callables(net=net)
        self.net, output_scale = net, finite_number("output_scale", output_scale)
        linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
        if linear:
            with torch.no_grad():
                linear[-1].weight.mul_(output_scale)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        log_library = log_library_size(x)
        shift, log_variance = self.net(torch.log1p(x)).chunk(2, -1)
        scale = (0.5 * (log_variance.clamp(-6.0, 6.0) - log_library)).exp()
        return dist.Normal(log_library + shift.clamp(-4.0, 4.0), scale).to_event(1)
