"""The diagonal-Gaussian posterior."""

import pyro.distributions as dist
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, finite_range


class GaussianPosterior(nn.Module):
    r"""A Gaussian with diagonal covariance whose mean and log-variance a network gives.

    .. math:: q(z \mid x) = \mathcal N\bigl(z; \mu(x), \mathrm{diag}\, e^{\lambda(x)}\bigr), \qquad
              [\mu(x), \lambda(x)] = \mathrm{net}(x)

    Args:
        net: Maps ``[*, ...]``, one tensor or several, to ``[*, 2 * D]``: the means, then the log-variances.
        log_variance_range: Bounds (min, max) to which the log-variance is clamped.

    Called with the data, or with data and other latents, it returns a distribution with batch shape ``[*]`` and event
    shape ``[D]``. Called with the latents above it is a conditional prior.

    Raises:
        ValueError: If ``log_variance_range`` is not increasing.

    Source: Kingma and Welling (2013), arXiv 1312.6114; the bounds are those of Tomczak and Welling (2017), arXiv
    1705.07120.

    Example:
        >>> import torch
        >>> from pyrodgm.nn import mlp
        >>> posterior = GaussianPosterior(mlp(784, [300, 300], 2 * 40))
        >>> posterior(torch.zeros(5, 784)).sample().shape
        torch.Size([5, 40])
    """

    def __init__(self, net: nn.Module, log_variance_range: tuple[float, float] = (-6.0, 2.0)) -> None:
        super().__init__()
        callables(net=net)
        self.net, self.log_variance_range = net, finite_range("log_variance_range", log_variance_range)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        loc, log_variance = self.net(*inputs).chunk(2, dim=-1)
        return dist.Normal(loc, (0.5 * log_variance.clamp(*self.log_variance_range)).exp()).to_event(1)
