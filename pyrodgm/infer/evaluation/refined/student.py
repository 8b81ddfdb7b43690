"""Multivariate Student's t distributions around fitted Gaussians."""

import math

import torch
from torch import Tensor

from pyrodgm.infer.evaluation.refined.gauss_newton import Gaussian

DEGREES = 10.0
WIDTH = 1.1  # of the scale relative to that of the Gaussian


def draw(gaussian: Gaussian, count: int) -> tuple[Tensor, Tensor]:
    """Draws ``[count, B, D]`` and their log-densities ``[count, B]``, float64."""
    normal = torch.randn(count, *gaussian.mean.shape, dtype=torch.float64, device=gaussian.mean.device)
    gamma = torch.distributions.Gamma(gaussian.mean.new_tensor(DEGREES / 2), gaussian.mean.new_tensor(0.5))
    standard = normal * (DEGREES / gamma.sample((count, len(gaussian.mean), 1))).sqrt()
    return gaussian.place(WIDTH * standard), log_density(gaussian, standard)


def log_density(gaussian: Gaussian, standard: Tensor) -> Tensor:
    """Log-density in the coordinates of the Gaussian of points that are ``standard`` ``[*, B, D]`` times the width."""
    size = standard.shape[-1]
    norm = math.lgamma((DEGREES + size) / 2) - math.lgamma(DEGREES / 2) - 0.5 * size * math.log(DEGREES * math.pi)
    bulk = -0.5 * (DEGREES + size) * torch.log1p(standard.square().sum(-1) / DEGREES)
    return norm + bulk + gaussian.log_det - size * math.log(WIDTH)
