"""Multivariate Student's t distributions around fitted Gaussians, and their equal-weight mixtures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrodgm.infer.evaluation.refined.gaussian import Gaussian

DEGREES = 10.0
WIDTH = 1.1  # scale of the t relative to that of the Gaussian


def draw(gaussian: Gaussian, count: int) -> tuple[Tensor, Tensor]:
    """Draw from the t around a Gaussian: draws ``[count, B, D]`` and log-densities ``[count, B]``, float64."""
    normal = torch.randn(count, *gaussian.mean.shape, dtype=torch.float64, device=gaussian.mean.device)
    gamma = torch.distributions.Gamma(gaussian.mean.new_tensor(DEGREES / 2), gaussian.mean.new_tensor(0.5))
    standard = normal * (DEGREES / gamma.sample((count, len(gaussian.mean), 1))).sqrt()
    return gaussian.place(WIDTH * standard), log_density(gaussian, standard)


def log_density(gaussian: Gaussian, standard: Tensor) -> Tensor:
    """Log-density in u of points ``gaussian.place(WIDTH * standard)``, ``[*, B]``, for ``standard`` ``[*, B, D]``."""
    return standard_log_density(standard) + gaussian.log_det(WIDTH * standard)


def standard_log_density(standard: Tensor) -> Tensor:
    """Log-density of ``WIDTH * standard`` in coordinates in which the Gaussian is a standard one, ``[*, B]``."""
    size = standard.shape[-1]
    norm = math.lgamma((DEGREES + size) / 2) - math.lgamma(DEGREES / 2) - 0.5 * size * math.log(DEGREES * math.pi)
    return norm - 0.5 * (DEGREES + size) * torch.log1p(standard.square().sum(-1) / DEGREES) - size * math.log(WIDTH)


@dataclass(frozen=True)
class Mixture:
    """Equal-weight mixtures of t distributions around the Gaussians fitted to each datum of a block.

    Data with fewer modes than others of the block have a Gaussian repeated.

    Attributes:
        gaussians: Components, each with one Gaussian per datum of the block, in the order of
            :func:`~.modes.distinct`.
    """

    gaussians: tuple[Gaussian, ...]

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Stratified draws ``[count, B, D]``, equally many per component, with their log-densities ``[count, B]``.

        With fixed instead of random numbers of draws per component the mean weight remains unbiased; see Owen and Zhou
        (2000), JASA 95, 135, on the balance heuristic.
        """
        if len(self.gaussians) == 1:
            return draw(self.gaussians[0], count)
        share, more = divmod(count, len(self.gaussians))
        u = torch.cat([draw(gaussian, share + (i < more))[0] for i, gaussian in enumerate(self.gaussians)])
        return u, self.log_density(u)

    def draw_independent(self, count: int) -> Tensor:
        """Independent draws ``[count, B, D]``, for which the component is drawn too."""
        u = draw(self.gaussians[0], count)[0]
        chosen = torch.randint(len(self.gaussians), u.shape[:-1], device=u.device).unsqueeze(-1)
        for i, gaussian in enumerate(self.gaussians[1:], 1):
            u = torch.where(chosen == i, draw(gaussian, count)[0], u)
        return u

    def log_density(self, u: Tensor) -> Tensor:
        """Log-density ``[*, B]`` at u ``[*, B, D]``."""
        each = [log_density(gaussian, gaussian.standardise(u) / WIDTH) for gaussian in self.gaussians]
        return torch.stack(each).logsumexp(0) - math.log(len(each))

    def __getitem__(self, rows: Tensor | slice) -> "Mixture":
        """Select data by index."""
        return Mixture(tuple(gaussian[rows] for gaussian in self.gaussians))

    @staticmethod
    def cat(parts: Sequence["Mixture"]) -> "Mixture":
        """Concatenate blocks; those with fewer components have their first repeated."""
        most = max(len(part.gaussians) for part in parts)
        padded = [part.gaussians + part.gaussians[:1] * (most - len(part.gaussians)) for part in parts]
        return Mixture(tuple(Gaussian.cat(each) for each in zip(*padded, strict=True)))
