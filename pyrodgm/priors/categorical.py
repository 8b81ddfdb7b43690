"""The prior over classes."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_tensor, whole_number
from pyrodgm.processes import register_state


class CategoricalPrior(nn.Module):
    r"""Categorical prior over classes, fixed or learned, :math:`p(y) = \mathrm{Categorical}(y; \pi)`.

    Args:
        num_classes: Number of classes C, at least 2.
        probs: Their probabilities ``[C]``, positive; they are normalised. Uniform by default.
        learn: Whether the probabilities are learned, starting from ``probs``.

    Called with nothing it returns a distribution over 0, ..., C - 1.

    Raises:
        ValueError: If there are fewer than 2 classes, or ``probs`` has another shape or a value that is not positive.

    Example:
        >>> CategoricalPrior(4, torch.tensor([1.0, 1.0, 1.0, 5.0]))().probs
        tensor([0.1250, 0.1250, 0.1250, 0.6250])
    """

    logits: Tensor

    def __init__(self, num_classes: int, probs: Tensor | None = None, learn: bool = False) -> None:
        super().__init__()
        num_classes = whole_number("num_classes", num_classes, 2)
        probs = torch.ones(num_classes) if probs is None else probs
        finite_tensor("probs", probs, (num_classes,))
        if not (probs > 0).all():
            raise ValueError(f"probs must be {num_classes} positive numbers, got {probs}")
        logits = (probs / probs.sum()).log()
        if learn:
            self.logits = nn.Parameter(logits)
        else:
            register_state(self, "replicated", "logits", logits)

    def forward(self) -> dist.TorchDistribution:
        return dist.Categorical(logits=self.logits)
