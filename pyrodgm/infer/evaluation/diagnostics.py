"""Diagnostics of importance weights: effective sample size and the Pareto shape k-hat of their tail."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pyrodgm.extras import needs_extra

LEAST = 25  # samples below which no tail can be fitted
LIMIT = 0.7  # largest k-hat of weights that can be trusted (Vehtari et al. 2015, arXiv 1507.02646, section 3.2)
TOLD_APART = 2.0**24  # largest log-weight for which float32 resolves a difference of one nat
LEAST_ESS = 30.0  # effective sample size below which the logarithm of a mean is more than 0.02 nats off on average


def summarise(log_weights: Tensor, differ: Callable[[], Tensor] | None = None) -> dict[str, Tensor]:
    """Log of the mean weight, effective sample size and k-hat of each column of ``[num_samples, N]``, on the CPU.

    Args:
        log_weights: Log-weights of the draws, ``[num_samples, N]``.
        differ: Returns whether the draws of each datum differ, ``[N]``; by default they are taken to. Where all draws
            are one point, equal weights say nothing about other points, and k-hat is set to infinity. Called only if
            all weights of some datum are equal.
    """
    log_weights = log_weights.double().cpu()
    total = log_weights.logsumexp(0)
    ess = (2 * total - (2 * log_weights).logsumexp(0)).exp()
    k_hat = pareto_smooth(log_weights)[1]
    if differ is not None and bool((k_hat == -math.inf).any()):
        k_hat = k_hat.masked_fill((k_hat == -math.inf) & ~differ().cpu(), math.inf)
    return {"values": total - math.log(len(log_weights)), "ess": ess, "k_hat": k_hat}


def is_flagged(ess: Tensor, k_hat: Tensor) -> Tensor:
    """Where weights cannot be trusted. Equal weights of different draws are never flagged, however few there are."""
    return (k_hat > LIMIT) | ((ess < LEAST_ESS) & (k_hat > -math.inf))


def pareto_smooth(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Pareto-smooth log-weights ``[num_samples, N]``; returns them and the Pareto shape (k-hat) of each column's tail.

    The shape is minus infinity where all weights of a column are equal, for log-weights below 2^24 in size; larger
    ones may be equal by rounding alone. The shape is infinity, and the weights are returned unchanged, where no tail
    can be fitted: with fewer than 25 samples; where the tail is flat but not all weights are equal (truncated at the
    edge of the proposal's support); and where a quarter of the tail underflows relative to the largest weight, so that
    only the fit's prior of 0.5 for the shape would be left.

    Source: Vehtari et al. (2015), arXiv 1507.02646; Zhang and Stephens (2009), Technometrics 51, 316 (the fit, which
    divides by the first quartile of the tail).
    """
    import numpy as np

    with needs_extra("evaluation"):
        from arviz_stats.base import array_stats

    log_weights = log_weights.double()
    smoothed, k_hat = log_weights.clone(), torch.full(log_weights.shape[1:], math.inf, dtype=torch.float64)
    if len(log_weights) >= LEAST:
        fits = _has_tail(log_weights)
        if fits.any():
            with np.errstate(all="ignore"):
                weights, shapes = array_stats.psislw(-log_weights[:, fits].T.numpy())
            k_hat[fits] = torch.as_tensor(shapes)
            fitted = torch.as_tensor(weights).T
            smoothed[:, fits] = torch.where(torch.isfinite(fitted).all(0), fitted, smoothed[:, fits])
    equal = (log_weights.amax(0) - log_weights.amin(0) < 1e-9) & (log_weights.amax(0).abs() < TOLD_APART)
    k_hat = torch.where(k_hat.isnan(), math.inf, k_hat)
    return smoothed, k_hat.masked_fill(equal & (len(log_weights) >= LEAST), -math.inf)


def _has_tail(log_weights: Tensor) -> Tensor:
    """Columns whose tail can be fitted: its first quartile exceeds the cut-off, and it is not flat."""
    count = math.ceil(min(0.2 * len(log_weights), 3 * math.sqrt(len(log_weights))))
    top = (log_weights - log_weights.amax(0)).topk(count + 1, dim=0).values.exp()
    excess = top[:-1] - top[-1]
    quartile = excess[count - int(count / 4 + 0.5)]  # the fit counts from the smallest
    return (quartile > 0) & (top[0] - top[count - 2] > 1e-9)  # flat but for its smallest weight counts as flat
