"""Networks that tell draws of two distributions apart."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.nn.dense import Dense, Layer, mlp


class Discriminator(nn.Module):
    """A network that gives one number, the logit of coming from the first of two distributions, or a critic's score.

    Args:
        features: Maps ``[*, D]``, all inputs side by side, to features ``[*, H]``.
        head: Maps these to ``[*, 1]``.

    Called with tensors ``[*, D_i]`` it returns ``[*]``.

    Example:
        >>> Discriminator.dense(5, [16])(torch.zeros(7, 3), torch.zeros(7, 2)).shape
        torch.Size([7])
    """

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        callables(features=features, head=head)
        self.features, self.head = features, head

    @classmethod
    def dense(cls, in_features: int, hidden: Sequence[int], layer: Layer | None = None) -> "Discriminator":
        """Dense hidden layers, the features being the last of them; leaky ReLU of slope 0.2 by default."""
        layer = layer or partial(Dense, activation=partial(nn.LeakyReLU, 0.2))
        body = mlp(in_features, hidden, 1, layer)
        return cls(body[:-1], body[-1])

    def forward(self, *inputs: Tensor) -> Tensor:
        joined = torch.cat(inputs, dim=-1) if len(inputs) > 1 else inputs[0]
        score: Tensor = self.head(self.features(joined))
        return score.squeeze(-1)
