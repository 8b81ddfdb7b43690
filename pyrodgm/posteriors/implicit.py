"""Posteriors that are known by their draws alone."""

import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, whole_number
from pyrodgm.distributions import Implicit


class ImplicitPosterior(nn.Module):
    r"""A network of the data and of Gaussian noise: any distribution over the latents, its density unknown.

    .. math:: z = \mathrm{net}([x, \varepsilon]), \qquad \varepsilon \sim \mathcal N(0, I)

    Args:
        net: Maps ``[*, D + noise]``, data and noise side by side, to latents ``[*, features]``.
        features: Number of latent dimensions.
        noise: Number of noise dimensions; 0 for the deterministic encoder of an autoencoder.

    Called with data ``[*, D]`` it returns an :class:`~pyrodgm.distributions.Implicit` with batch shape ``[*]`` and
    event shape ``[features]``, for adversarial training. Each draw runs the network.

    Raises:
        ValueError: If ``features`` is less than 1 or ``noise`` negative.

    Source: Mescheder, Nowozin and Geiger (2017), arXiv 1701.04722, section 2; Makhzani et al. (2015), arXiv 1511.05644,
    section 2.

    Example:
        >>> from pyrodgm.nn import mlp
        >>> ImplicitPosterior(mlp(784 + 32, [300], 8), 8, 32)(torch.zeros(5, 784)).sample().shape
        torch.Size([5, 8])
    """

    def __init__(self, net: nn.Module, features: int, noise: int = 0) -> None:
        super().__init__()
        callables(net=net)
        self.net, self.features = net, whole_number("features", features)
        self.noise = whole_number("noise", noise, 0)

    def forward(self, x: Tensor) -> Implicit:
        def draw(shape: torch.Size) -> Tensor:
            wide = x.expand(*shape, *x.shape)
            if not self.noise:
                return self.net(wide)
            return self.net(torch.cat([wide, wide.new_empty(*wide.shape[:-1], self.noise).normal_()], dim=-1))

        return Implicit(draw, x.shape[:-1], torch.Size([self.features]))
