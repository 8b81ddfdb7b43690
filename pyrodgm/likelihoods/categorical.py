"""Likelihood of symbols."""

import pyro.distributions as dist
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables


class CategoricalLikelihood(nn.Module):
    r"""Symbols given latents or hidden states, with logits from a network.

    .. math:: p(x \mid z) = \mathrm{softmax}(f(z))_x

    Args:
        net: From latents ``[*, features]`` to logits ``[*, K]``.

    Shape:
        ``[*, features]`` to a distribution with batch shape ``[*]`` over 0 ... K - 1.

    Example:
        >>> import torch
        >>> CategoricalLikelihood(nn.Linear(4, 27))(torch.zeros(5, 4)).sample().shape
        torch.Size([5])
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        callables(net=net)
        self.net = net

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return dist.Categorical(logits=self.net(z))
