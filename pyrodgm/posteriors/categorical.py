"""The posterior over classes."""

import pyro.distributions as dist
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables


class CategoricalPosterior(nn.Module):
    r"""Class probabilities whose logits a network gives: a classifier.

    .. math:: q(y \mid x) = \mathrm{Categorical}\bigl(y; \mathrm{softmax}(\mathrm{net}(x))\bigr)

    Args:
        net: Maps ``[*, ...]`` to logits ``[*, C]``.

    Called with data ``x`` (or all that its network takes) it returns a distribution over 0, ..., C - 1 with batch shape
    ``[*]``.

    Source: Kingma et al. (2014), arXiv 1406.5298, eq. 4.

    Example:
        >>> import torch
        >>> from pyrodgm.nn import mlp
        >>> CategoricalPosterior(mlp(784, [500], 10))(torch.zeros(5, 784)).sample().shape
        torch.Size([5])
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        callables(net=net)
        self.net = net

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        return dist.Categorical(logits=self.net(*inputs))
