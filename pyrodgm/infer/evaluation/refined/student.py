"""Multivariate Student's t distributions around fitted Gaussians, and equal mixtures of them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pyrodgm.infer.evaluation.refined.gaussian import Gaussian

DEGREES = 10.0
WIDTH = 1.1  # of the scale relative to that of the Gaussian


def draw(gaussian: Gaussian, count: int) -> tuple[Tensor, Tensor]:
    """Draws ``[count, B, D]`` and their log-densities ``[count, B]``, float64."""
    normal = torch.randn(count, *gaussian.mean.shape, dtype=torch.float64, device=gaussian.mean.device)
    gamma = torch.distributions.Gamma(gaussian.mean.new_tensor(DEGREES / 2), gaussian.mean.new_tensor(0.5))
    standard = normal * (DEGREES / gamma.sample((count, len(gaussian.mean), 1))).sqrt()
    return gaussian.place(WIDTH * standard), log_density(gaussian, standard)


def draw_mixture(gaussians: Sequence[Gaussian], count: int) -> tuple[Tensor, Tensor]:
    """Draws ``[count, B, D]``, as many of each component as of any other, and their log-densities in the mixture.

    That the numbers are fixed and not drawn leaves the mean of the weights unbiased; see Owen and Zhou (2000), JASA 95,
    135, on the balance heuristic.
    """
    if len(gaussians) == 1:
        return draw(gaussians[0], count)
    u = torch.cat([draw(gaussian, count // len(gaussians))[0] for gaussian in gaussians])
    each = [log_density(gaussian, gaussian.standardise(u) / WIDTH) for gaussian in gaussians]
    return u, torch.stack(each).logsumexp(0) - math.log(len(gaussians))


def log_density(gaussian: Gaussian, standard: Tensor) -> Tensor:
    """Log-density in the coordinates of the Gaussian of points that are ``standard`` ``[*, B, D]`` times the width."""
    return standard_log_density(standard) + gaussian.log_det(WIDTH * standard)


def standard_log_density(standard: Tensor) -> Tensor:
    """The same in the coordinates in which the Gaussian is a standard one, ``[*, B]``."""
    size = standard.shape[-1]
    norm = math.lgamma((DEGREES + size) / 2) - math.lgamma(DEGREES / 2) - 0.5 * size * math.log(DEGREES * math.pi)
    return norm - 0.5 * (DEGREES + size) * torch.log1p(standard.square().sum(-1) / DEGREES) - size * math.log(WIDTH)
