"""Resampling of weighted populations."""

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import validated


def systematic_resample(log_weights: Tensor) -> Tensor:
    r"""Indices of the members of a population that go on, each as often as its weight asks for, give or take one.

    .. math:: a_n = \min\Bigl\{i : \sum_{j \le i} w_j \ge \frac{n + u}{N}\Bigr\}, \qquad u \sim U(0, 1)

    Args:
        log_weights: ``[N]``, real; need not be normalised.

    Returns:
        Indices in increasing order, ``[N]``, int64.

    Source: Kitagawa (1996), Journal of Computational and Graphical Statistics 5, 1; Douc and Cappé (2005).

    Example:
        >>> systematic_resample(torch.tensor([0.0, 99.0, 0.0]))
        tensor([1, 1, 1])
    """
    validated(log_weights=log_weights)
    if log_weights.dim() != 1 or not len(log_weights):
        raise ValueError(f"log_weights must have shape [N] with N of at least 1, got {list(log_weights.shape)}")
    cdf = log_weights.to(torch.float64).softmax(0).cumsum(0)
    count = len(log_weights)
    offset = torch.rand((), dtype=cdf.dtype, device=cdf.device)
    points = (torch.arange(count, dtype=cdf.dtype, device=cdf.device) + offset) / count
    return torch.searchsorted(cdf, points * cdf[-1]).clamp(max=count - 1)
