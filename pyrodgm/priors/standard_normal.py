"""The standard-normal prior."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.processes import register_state


class StandardNormal(nn.Module):
    r"""Independent standard-normal latents, :math:`p(z) = \mathcal N(z; 0, I)`.

    Args:
        features: Number of latent dimensions D.

    Raises:
        ValueError: If ``features`` is less than 1.

    Called with nothing it returns a distribution with event shape ``[D]``.

    Example:
        >>> StandardNormal(40)().event_shape
        torch.Size([40])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        features = whole_number("features", features)
        # buffers follow the module's device and dtype; as constants they need not be saved
        register_state(self, "replicated", "loc", torch.zeros(features), persistent=False)
        register_state(self, "replicated", "scale", torch.ones(features), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        return dist.Normal(self.loc, self.scale).to_event(1)
