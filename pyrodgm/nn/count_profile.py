"""Counts as networks take them, without the library size."""

import math

import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_number, validated


def log_library_size(x: Tensor) -> Tensor:
    """Logarithm of the sum of the counts of each datum, ``[*, G]`` to ``[*, 1]``; 0 for a datum without any.

    >>> log_library_size(torch.tensor([[2.0, 1.0], [0.0, 0.0]])).squeeze(-1)
    tensor([1.0986, 0.0000])
    """
    validated(x=x)
    return x.sum(-1, keepdim=True).clamp(min=1.0).log()


class CountProfile(nn.Module):
    r"""Counts of each datum as shares of its library size, on a logarithmic scale in [0, 1].

    .. math:: u_g = \log(1 + s\, x_g / \ell) \,/\, \log(1 + s), \qquad \ell = \max(1, \textstyle\sum_g x_g)

    In front of an encoder it takes the library size out of what the encoder sees. Since u is in [0, 1] whatever the
    counts, pseudo-inputs of a VampPrior live on this scale: profiles, without a library size.

    Args:
        size: Library size s to which data are scaled, positive; usually the median of the training data.

    Shape:
        ``[*, G]`` to ``[*, G]`` in [0, 1].

    Raises:
        ValueError: If ``size`` is not positive.

    Example:
        >>> CountProfile(3.0)(torch.tensor([[1.0, 2.0, 0.0], [10.0, 20.0, 0.0]]))
        tensor([[0.5000, 0.7925, 0.0000],
                [0.5000, 0.7925, 0.0000]])
    """

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = finite_number("size", size, above=0.0)

    @property
    def scale(self) -> float:
        """log(1 + s): by it a profile times this is log(1 + counts of a datum of that size)."""
        return math.log1p(self.size)

    def forward(self, x: Tensor) -> Tensor:
        shares = x / x.sum(-1, keepdim=True).clamp(min=1.0)
        return torch.log1p(self.size * shares) / self.scale

    def extra_repr(self) -> str:
        return f"{self.size:g}"
