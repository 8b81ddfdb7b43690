"""Stick weights, the fractions that break them off, and how many of them matter."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from pyrodgm.arithmetic import into_open_interval, log1mexp, wide
from pyrodgm.distributions._numeric import attach_gradient, kept_logs


def _logs_to_log_weights(log_v: Tensor, log1m_v: Tensor) -> Tensor:
    rest = log1m_v.cumsum(-1)
    return torch.cat([log_v, torch.zeros_like(log_v[..., :1])], -1) + pad(rest, (1, 0))


def _log_weights_to_logs(log_weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log v, log(1 - v) and the log of what is left before each break, all ``[..., K - 1]``."""
    # What is left is a sum of the later weights: no 1 - v is ever taken, so nothing cancels.
    left = log_weights.flip(-1).logcumsumexp(-1).flip(-1)
    log_v, log1m_v = log_weights[..., :-1] - left[..., :-1], left[..., 1:] - left[..., :-1]
    small = log_v < log1m_v
    # The smaller of the two is exact relative to itself; the other follows from it.
    return (
        torch.where(small, log_v, log1mexp(torch.where(small, -1.0, log1m_v))),
        torch.where(small, log1mexp(torch.where(small, log_v, -1.0)), log1m_v),
        left[..., :-1] - left[..., :1],
    )


def log_of_weights(weights: Tensor) -> Tensor:
    """Logarithms of stick weights: of a draw of ``StickBreaking`` those that it was made from, else finite.

    Args:
        weights: ``[..., K]`` on the simplex.

    Returns:
        ``[..., K]``, real; its gradient is that of the weights' logarithms.

    >>> log_of_weights(torch.tensor([1.0, 0.0])).isfinite().all().item()
    True
    """
    return _log_of_weights(weights).to(weights.dtype)


def _log_of_weights(weights: Tensor) -> Tensor:
    kept = kept_logs(weights)
    if kept is None:
        return wide(weights.clamp(min=torch.finfo(weights.dtype).tiny)).log()
    return attach_gradient(kept[0], weights)


def fractions_to_weights(fractions: Tensor) -> Tensor:
    r"""Stick weights :math:`\pi_k = v_k \prod_{j<k} (1 - v_j)`, the last one being what is left.

    Args:
        fractions: ``[..., K - 1]``, in (0, 1).

    Returns:
        ``[..., K]`` on the simplex.

    >>> fractions_to_weights(torch.tensor([0.5, 0.5]))
    tensor([0.5000, 0.2500, 0.2500])
    """
    inside = wide(into_open_interval(fractions))
    return _logs_to_log_weights(inside.log(), torch.log1p(-inside)).exp().to(fractions.dtype)


def weights_to_fractions(weights: Tensor) -> Tensor:
    r"""The inverse of ``fractions_to_weights``: :math:`v_k = \pi_k / \sum_{j \ge k} \pi_j`.

    Args:
        weights: ``[..., K]`` on the simplex.

    Returns:
        ``[..., K - 1]``, strictly inside (0, 1).

    >>> weights_to_fractions(torch.tensor([0.5, 0.25, 0.25]))
    tensor([0.5000, 0.5000])
    """
    log_v, _, _ = _log_weights_to_logs(_log_of_weights(weights))
    return into_open_interval(log_v.exp().to(weights.dtype))


def sticks_to_mass(weights: Tensor, mass: float = 0.99) -> Tensor:
    """How many of the first sticks hold the share ``mass`` of the whole: integers from 1 to K, ``[...]``.

    Args:
        weights: ``[..., K]`` on the simplex, in stick order.
        mass: in (0, 1).

    >>> sticks_to_mass(torch.tensor([0.7, 0.2, 0.09, 0.01]), 0.85)
    tensor(2)
    """
    if not 0.0 < mass < 1.0:
        raise ValueError(f"expected mass in (0, 1), got {mass}")
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
    if not 1 <= count <= weights.shape[-1]:
        raise ValueError(f"expected count from 1 to {weights.shape[-1]} sticks, got {count}")
    kept = pad(weights[..., :count], (0, weights.shape[-1] - count))
    return kept / kept.sum(-1, keepdim=True) if renormalize else kept
