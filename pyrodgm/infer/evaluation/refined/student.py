"""Multivariate Student's t distributions around fitted Gaussians, and equal mixtures of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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


def log_density(gaussian: Gaussian, standard: Tensor) -> Tensor:
    """Log-density in the coordinates of the Gaussian of points that are ``standard`` ``[*, B, D]`` times the width."""
    return standard_log_density(standard) + gaussian.log_det(WIDTH * standard)


def standard_log_density(standard: Tensor) -> Tensor:
    """The same in the coordinates in which the Gaussian is a standard one, ``[*, B]``."""
    size = standard.shape[-1]
    norm = math.lgamma((DEGREES + size) / 2) - math.lgamma(DEGREES / 2) - 0.5 * size * math.log(DEGREES * math.pi)
    return norm - 0.5 * (DEGREES + size) * torch.log1p(standard.square().sum(-1) / DEGREES) - size * math.log(WIDTH)


@dataclass(frozen=True)
class Mixture:
    """Equal mixtures of t distributions around the Gaussians that are fitted to each datum of a block.

    A datum with fewer modes than another of its block has one of its Gaussians more than once.

    Attributes:
        gaussians: Of the whole block each, those of the largest integral first.
    """

    gaussians: tuple[Gaussian, ...]

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Draws ``[count, B, D]``, as many of each component as of any other, and their log-densities ``[count, B]``.

        That the numbers are fixed and not drawn leaves the mean of the weights unbiased; see Owen and Zhou (2000), JASA
        95, 135, on the balance heuristic.
        """
        if len(self.gaussians) == 1:
            return draw(self.gaussians[0], count)
        share, more = divmod(count, len(self.gaussians))
        u = torch.cat([draw(gaussian, share + (i < more))[0] for i, gaussian in enumerate(self.gaussians)])
        return u, self.log_density(u)

    def draw_independent(self, count: int) -> Tensor:
        """The same, of components that are drawn, too: independent of each other."""
        u = draw(self.gaussians[0], count)[0]
        chosen = torch.randint(len(self.gaussians), u.shape[:-1], device=u.device).unsqueeze(-1)
        for i, gaussian in enumerate(self.gaussians[1:], 1):
            u = torch.where(chosen == i, draw(gaussian, count)[0], u)
        return u

    def log_density(self, u: Tensor) -> Tensor:
        """At u ``[*, B, D]``, ``[*, B]``."""
        each = [log_density(gaussian, gaussian.standardise(u) / WIDTH) for gaussian in self.gaussians]
        return torch.stack(each).logsumexp(0) - math.log(len(each))

    def __getitem__(self, rows: Tensor | slice) -> "Mixture":
        """Those of some of the data."""
        return Mixture(tuple(gaussian[rows] for gaussian in self.gaussians))

    @staticmethod
    def cat(parts: Sequence["Mixture"]) -> "Mixture":
        """Those of several blocks as one."""
        most = max(len(part.gaussians) for part in parts)
        padded = [part.gaussians + part.gaussians[:1] * (most - len(part.gaussians)) for part in parts]
        return Mixture(tuple(Gaussian.cat(each) for each in zip(*padded, strict=True)))
