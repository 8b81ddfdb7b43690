"""The likelihood of grey and colour values."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, finite_range, tensors, whole_number
from pyrodgm.distributions import DiscretizedLogistic
from pyrodgm.processes import register_state


class DiscretizedLogisticLikelihood(nn.Module):
    r"""Independent discretised logistic variables whose locations and scales a network gives.

    .. math:: p(x \mid z) = \prod_d \mathrm{DiscretizedLogistic}\bigl(x_d; \mathrm{sigmoid}(m_d + b_d), s_d\bigr),
              \qquad [m, s] = \mathrm{net}(z), \quad b = \mathrm{logit}(\text{mean})

    Args:
        net: Maps the latents, ``[*, ...]`` each, to ``[*, 2 * D]``: the logits of the locations, then the logarithms of
            the scales. With ``event_dim=3`` it gives ``[*, 2 * channels, height, width]`` instead.
        mean: Mean of the training data, of the shape of the data, in [0, 1], cut off at 0.001 from either end; its
            logits become a fixed bias of those of the locations.
        num_bins: Number of values that a pixel can have, evenly spaced in [0, 1].
        log_scale_range: Bounds (min, max) to which the logarithm of the scale is clamped.
        event_dim: Number of dimensions of a datum; the first of them is halved.

    Called with latents it returns a distribution with batch shape ``[*]`` over data ``[D]`` (or ``[channels, height,
    width]``) in [0, 1]; log-probabilities are those of the bins, in nats, so that
    :math:`-\log_2 p(x \mid z) / D` are bits per dimension as they stand.

    Raises:
        ValueError: If ``mean`` has a value outside [0, 1], ``log_scale_range`` is not increasing, or ``event_dim`` or
            ``num_bins`` is too small; on a call, if the network gives an odd number of values.

    Source: Kingma et al. (2016), arXiv 1606.04934; the bounds are those of Tomczak and Welling (2017), arXiv
    1705.07120.

    Example:
        >>> import torch
        >>> from pyrodgm.nn import mlp
        >>> likelihood = DiscretizedLogisticLikelihood(mlp(40, [300, 300], 2 * 560))
        >>> likelihood(torch.zeros(5, 40)).log_prob(torch.full((5, 560), 0.5)).shape
        torch.Size([5])
    """

    bias: Tensor | None

    def __init__(
        self,
        net: nn.Module,
        mean: Tensor | None = None,
        num_bins: int = 256,
        log_scale_range: tuple[float, float] = (-4.5, 0.0),
        event_dim: int = 1,
    ) -> None:
        super().__init__()
        if mean is not None:
            tensors(mean=mean)
        if mean is not None and not ((mean >= 0) & (mean <= 1)).all():
            raise ValueError(f"mean must lie in [0, 1], got values from {mean.min():.4g} to {mean.max():.4g}")
        callables(net=net)
        log_scale_range = finite_range("log_scale_range", log_scale_range)
        event_dim = whole_number("event_dim", event_dim)
        num_bins = whole_number("num_bins", num_bins, 2)
        self.net, self.num_bins, self.log_scale_range, self.event_dim = net, num_bins, log_scale_range, event_dim
        register_state(self, "replicated", "bias", None if mean is None else torch.logit(mean, eps=1e-3))

    def forward(self, *latents: Tensor) -> dist.TorchDistribution:
        output = self.net(*latents)
        if output.shape[-self.event_dim] % 2:
            raise ValueError(f"net must give a location and a scale for each value, got {list(output.shape)}")
        logits, log_scale = output.chunk(2, dim=-self.event_dim)
        if self.bias is not None:
            logits = logits + self.bias
        pixels = DiscretizedLogistic(logits.sigmoid(), log_scale.clamp(*self.log_scale_range), self.num_bins)
        return pixels.to_event(self.event_dim)
