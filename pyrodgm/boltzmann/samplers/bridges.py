"""Ratios of partition functions at neighbouring temperatures."""

import math

from torch import Tensor

ITERATIONS = 30


def bridge_log_ratios(betas: Tensor, negative_energy: Tensor) -> tuple[Tensor, Tensor]:
    r"""Log ratios of partition functions of neighbouring temperatures, by Bennett's acceptance ratio.

    .. math:: \sum_{z \sim p_k} \sigma(w(z) - r_k) = \sum_{z \sim p_{k+1}} \sigma(r_k - w(z)), \qquad
              w = -(\beta_{k+1} - \beta_k) E, \qquad r_k = \log Z_{k+1} / Z_k

    Args:
        betas: Inverse temperatures, ``[T]``, increasing.
        negative_energy: -E of states at each, ``[T, N, R]``: R of each of N independent chains.

    Returns:
        The log ratios, ``[T - 1]``, and the standard error of their sum, ``[]``, from the spread over the chains of
        what each adds to it to first order.

    Source: Bennett (1976), Journal of Computational Physics 22, 245, eq. 12; the equation is solved by iteration.
    """
    width = betas.diff()[:, None, None]
    hot, cold = width * negative_energy[:-1], width * negative_energy[1:]
    ratios = hot.mean((1, 2), keepdim=True)
    for _ in range(ITERATIONS):
        up = (hot - ratios).sigmoid().mean((1, 2), keepdim=True)
        down = (ratios - cold).sigmoid().mean((1, 2), keepdim=True)
        ratios = ratios + up.log() - down.log()
    up, down = (hot - ratios).sigmoid(), (ratios - cold).sigmoid()
    slope = (up * (1.0 - up)).mean((1, 2)) + (down * (1.0 - down)).mean((1, 2))
    influence = ((up.mean(-1) - down.mean(-1)) / slope.unsqueeze(-1)).sum(0)
    return ratios[:, 0, 0], influence.std() / math.sqrt(len(influence))
