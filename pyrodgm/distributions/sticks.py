"""Stick weights, the fractions that break them off, and how many of them matter."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from pyrodgm.arithmetic import into_open_interval, log_stick_weights, stick_logits, unit_logit, wide
from pyrodgm.arithmetic.arguments import finite_number, real_tensors, validated, whole_number


def fractions_to_weights(fractions: Tensor) -> Tensor:
    r"""Stick weights :math:`\pi_k = v_k \prod_{j<k} (1 - v_j)`, the last one being the remaining stick.

    Args:
        fractions: ``[..., K - 1]``, in (0, 1).

    Returns:
        ``[..., K]`` on the simplex.

    >>> fractions_to_weights(torch.tensor([0.5, 0.5]))
    tensor([0.5000, 0.2500, 0.2500])
    """
    real_tensors(fractions=fractions)
    validated(fractions=fractions)
    return log_stick_weights(unit_logit(fractions)).exp().to(fractions.dtype)


def weights_to_fractions(weights: Tensor) -> Tensor:
    r"""The inverse of ``fractions_to_weights``: :math:`v_k = \pi_k / \sum_{j \ge k} \pi_j`.

    Args:
        weights: ``[..., K]`` on the simplex.

    Returns:
        ``[..., K - 1]``, strictly inside (0, 1).

    >>> weights_to_fractions(torch.tensor([0.5, 0.25, 0.25]))
    tensor([0.5000, 0.5000])
    """
    real_tensors(weights=weights)
    validated(weights=weights)
    return into_open_interval(stick_logits(log_of_weights(weights)).sigmoid().to(weights.dtype))


def log_of_weights(weights: Tensor) -> Tensor:
    """Logarithms of stick weights, in float64 and finite.

    Args:
        weights: ``[..., K]`` on the simplex.

    Returns:
        ``[..., K]``.

    >>> log_of_weights(torch.tensor([1.0, 0.0])).isfinite().all().item()
    True
    """
    real_tensors(weights=weights)
    validated(weights=weights)
    return wide(weights.clamp(min=torch.finfo(weights.dtype).tiny)).log()


def sticks_to_mass(weights: Tensor, mass: float = 0.99) -> Tensor:
    """How many of the first sticks hold the share ``mass`` of the whole: integers from 1 to K, ``[...]``.

    Args:
        weights: ``[..., K]`` on the simplex, in stick order.
        mass: in (0, 1).

    >>> sticks_to_mass(torch.tensor([0.7, 0.2, 0.09, 0.01]), 0.85)
    tensor(2)
    """
    real_tensors(weights=weights)
    validated(weights=weights)
    mass = finite_number("mass", mass, above=0.0, below=1.0)
    # What is left after n sticks, summed from the small end.
    left = wide(weights).flip(-1).cumsum(-1).flip(-1)[..., 1:]
    return (left > (1.0 - mass) * (1.0 + 1e-6)).sum(-1) + 1


def first_sticks(weights: Tensor, count: int, renormalize: bool = False) -> Tensor:
    """Weights of the first ``count`` sticks, zero for the others: ``[..., K]``.

    Args:
        weights: ``[..., K]`` on the simplex, in stick order.
        count: from 1 to K.
        renormalize: whether the sticks that are kept are scaled to sum to one; else the rest is lost, and what a
            decoder makes of the result is what the first sticks contribute to the whole.

    >>> first_sticks(torch.tensor([0.5, 0.25, 0.25]), 2)
    tensor([0.5000, 0.2500, 0.0000])
    """
    real_tensors(weights=weights)
    validated(weights=weights)
    count = whole_number("count", count)
    if not 1 <= count <= weights.shape[-1]:
        raise ValueError(f"count must be from 1 to the {weights.shape[-1]} sticks of weights, got {count}")
    kept = pad(weights[..., :count], (0, weights.shape[-1] - count))
    return kept / kept.sum(-1, keepdim=True) if renormalize else kept
