"""The likelihood of real-valued data."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, finite_number, finite_range
from pyrodgm.processes import register_state


class GaussianLikelihood(nn.Module):
    r"""Independent Gaussians whose means a network gives, and their scales too if they are to depend on the latents.

    .. math:: p(x \mid z) = \prod_d \mathcal N\bigl(x_d; \mu_d(z), \sigma_d^2\bigr)

    Args:
        net: Maps ``[*, ...]`` to means ``[*, D]``; with ``scale=None`` to ``[*, 2 * D]``, means and then log-variances.
        scale: Standard deviation of all dimensions, positive, in the unit of the data; None: the network gives it.
        learn_scale: Whether ``scale`` is only where training starts.
        log_variance_range: Bounds (min, max) to which a log-variance from the network is clamped.

    Called with latents (all that its network takes) it returns a distribution with batch shape ``[*]`` and event shape
    ``[D]``; log-densities are in nats.

    Raises:
        ValueError: If ``scale`` is not positive, is to be learned but not given, or ``log_variance_range`` does not
            increase.

    Example:
        >>> from pyrodgm.nn import mlp
        >>> GaussianLikelihood(mlp(50, [500], 500))(torch.zeros(5, 50)).event_shape
        torch.Size([500])
    """

    log_scale: Tensor | None

    def __init__(
        self,
        net: nn.Module,
        scale: float | None = 1.0,
        learn_scale: bool = False,
        log_variance_range: tuple[float, float] = (-6.0, 2.0),
    ) -> None:
        super().__init__()
        callables(net=net)
        scale = None if scale is None else finite_number("scale", scale, above=0.0)
        if scale is None and learn_scale:
            raise ValueError("learn_scale needs a scale to start from, got scale=None")
        self.net, self.log_variance_range = net, finite_range("log_variance_range", log_variance_range)
        value = None if scale is None else torch.tensor(math.log(scale), dtype=torch.get_default_dtype())
        if learn_scale and value is not None:
            self.log_scale = nn.Parameter(value)
        else:
            register_state(self, "replicated", "log_scale", value)

    def forward(self, *latents: Tensor) -> dist.TorchDistribution:
        out = self.net(*latents)
        if self.log_scale is not None:
            return dist.Normal(out, self.log_scale.exp()).to_event(1)
        loc, log_variance = out.chunk(2, dim=-1)
        return dist.Normal(loc, (0.5 * log_variance.clamp(*self.log_variance_range)).exp()).to_event(1)
