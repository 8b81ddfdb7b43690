"""Data that a network makes of the latents, without noise and so without a density."""

from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.distributions import Implicit


class ImplicitLikelihood(nn.Module):
    r"""The output of a generator, :math:`x = G(z)`: draws of the data have no density given the latents.

    Args:
        net: Maps latents ``[*, ...]``, one tensor for each stochastic layer, to data ``[*, D]``.

    Called with latents it returns an :class:`~pyrodgm.distributions.Implicit` with batch shape ``[*]`` and event shape
    ``[D]``, for adversarial training; estimators that need log p(x | z) refuse it by name.

    Source: Goodfellow et al. (2014), arXiv 1406.2661.

    Example:
        >>> import torch
        >>> ImplicitLikelihood(nn.Linear(2, 3))(torch.zeros(5, 2)).sample().shape
        torch.Size([5, 3])
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        callables(net=net)
        self.net = net

    def forward(self, *latents: Tensor) -> Implicit:
        made = self.net(*latents)
        return Implicit(lambda shape: made.expand(*shape, *made.shape), made.shape[:-1], made.shape[-1:])
