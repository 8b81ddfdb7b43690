"""Stick weights from the logits of the fractions that break them off, and back."""

import math

from torch import Tensor
from torch.nn.functional import logsigmoid, pad

LEAST = math.log(1e-30)  # of a weight: far below it gradients would be denormal numbers, with which products are slow


def log_stick_weights(logits: Tensor) -> Tensor:
    r"""Logarithms of stick weights, :math:`\log \pi_k = \log \sigma(y_k) + \sum_{j<k} \log \sigma(-y_j)`.

    Args:
        logits: ``[..., K - 1]``, real; log v - log(1 - v) of each fraction.

    Returns:
        ``[..., K]``, finite; the last weight is the remaining stick.

    >>> import torch
    >>> log_stick_weights(torch.tensor([-1000.0, 0.0]))[0]
    tensor(-1000.)
    """
    return pad(logsigmoid(logits), (0, 1)) + pad(logsigmoid(-logits).cumsum(-1), (1, 0))


def stick_weights(logits: Tensor) -> Tensor:
    r"""Stick weights :math:`\pi_k = v_k \prod_{j<k} (1 - v_j)` of fractions with these logits.

    Args:
        logits: ``[..., K - 1]``, real; log v - log(1 - v) of each fraction.

    Returns:
        ``[..., K]`` on the simplex, at least 1e-30.

    >>> import torch
    >>> stick_weights(torch.zeros(2))
    tensor([0.5000, 0.2500, 0.2500])
    """
    return log_stick_weights(logits).clamp(min=LEAST).exp()


def stick_logits(log_weights: Tensor) -> Tensor:
    r"""The inverse of ``log_stick_weights``: :math:`y_k = \log \pi_k - \log \sum_{j>k} \pi_j`, where nothing cancels.

    Args:
        log_weights: ``[..., K]``, finite.

    Returns:
        ``[..., K - 1]``.

    >>> import torch
    >>> stick_logits(torch.tensor([0.5, 0.25, 0.25]).log())
    tensor([0., 0.])
    """
    return log_weights[..., :-1] - log_weights.flip(-1).logcumsumexp(-1).flip(-1)[..., 1:]
