"""A Gaussian with full covariance fitted to the posterior of each datum by variational Gauss-Newton steps."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrodgm.infer.evaluation.refined.curvature import positive_definite

START_DRAWS = 32  # draws of the guide that the start is taken from; they run no decoder
SIZES = ((6, 4), (6, 2), (4, 2), (3, 2))  # rounds and points of fits, the largest that a budget allows
FRESH = 3  # rounds that take the new curvature; later ones take the running mean

Moments = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Plan:
    """How the decoder evaluations of a datum are spent.

    Attributes:
        rounds: Gauss-Newton steps.
        points: Points of each, in antithetic pairs.
        draws: Fresh draws that are weighed.
    """

    rounds: int
    points: int
    draws: int

    @classmethod
    def of_budget(cls, budget: int, size: int) -> "Plan | None":
        """The plan for ``budget`` decoder evaluations a datum and ``size`` latent dimensions; None if too few.

        A point costs one evaluation for each forward derivative and three for value and gradient. The fit gets up to
        half of the budget.
        """
        for rounds, points in SIZES:
            cost = rounds * points * (size + 3)
            if 2 * cost <= budget:
                return cls(rounds, points, budget - cost)
        return None

    @staticmethod
    def least_cost(size: int) -> int:
        """Decoder evaluations of the smallest fit."""
        return SIZES[-1][0] * SIZES[-1][1] * (size + 3)


@dataclass(frozen=True)
class Gaussian:
    """Gaussians of a block of data.

    Attributes:
        mean: ``[B, D]``, float64.
        factor: Cholesky factor of the precision, ``[B, D, D]``, float64.
    """

    mean: Tensor
    factor: Tensor

    def place(self, standard: Tensor) -> Tensor:
        """The points ``[*, B, D]`` that standardised ones have here: mean + factor^-T standard."""
        return self.mean + self._solve(self.factor.mT, standard, upper=True)

    def standardise(self, points: Tensor) -> Tensor:
        """The inverse of :meth:`place`."""
        return torch.einsum("...bi,bij->...bj", points - self.mean, self.factor)

    def pull_back(self, gradient: Tensor) -> Tensor:
        """A gradient ``[*, B, D]`` in the points as one in standardised points."""
        return self._solve(self.factor, gradient, upper=False)

    def _solve(self, factor: Tensor, right: Tensor, upper: bool) -> Tensor:
        columns = right.movedim(-2, 0)  # a triangle a datum, all points as its columns
        solved = torch.linalg.solve_triangular(factor, columns.flatten(1, -2).mT, upper=upper)
        return solved.mT.reshape(columns.shape).movedim(0, -2)

    @property
    def log_det(self) -> Tensor:
        """Logarithm of the determinant of the precision's factor, ``[B]``."""
        return self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def select(self, rows: Tensor) -> "Gaussian":
        """Those of some data."""
        return Gaussian(self.mean[rows], self.factor[rows])


def start(draws: Tensor) -> Gaussian:
    """Diagonal Gaussians with the moments of draws ``[count, B, D]``."""
    draws = draws.double()
    scale = draws.std(0).clamp(min=1e-4)
    return Gaussian(draws.mean(0), torch.diag_embed(scale.reciprocal()))


def fit(first: Gaussian, plan: Plan, moments: Moments, dtype: torch.dtype) -> Gaussian:
    r"""Variational Gauss-Newton steps from a first Gaussian.

    .. math:: A \leftarrow \overline{J^\top F J + \Lambda}, \qquad
        m \leftarrow m + A^{-1} \bar g, \qquad q = \mathcal N(m, A^{-1})

    The bars are means over points of q, so that at the fixed point the mean gradient is zero and the precision is the
    mean curvature: the Gaussian nearest in KL(q || p), with Gauss-Newton curvature for the Hessian. After the first
    three rounds the curvature is a running mean; a step has at most the length sqrt(D) in the metric A, and shrinks as
    rounds are averaged.

    Args:
        first: Where to start.
        plan: Numbers of rounds and points.
        moments: Gives mean gradient ``[B, D]`` and mean curvature ``[B, D, D]`` at points ``[points, B, D]``.
        dtype: That of the points.

    Source: Khan and Rue (2023), arXiv 2107.04562, section 4 (the natural-gradient step); Schraudolph (2002), Neural
    Computation 14, 1723 (Gauss-Newton curvature).
    """
    mean, factor, running = first.mean, first.factor, torch.zeros_like(first.factor)
    size, averaged = mean.shape[-1], 1
    for step in range(plan.rounds):
        noise = torch.randn(plan.points // 2, *mean.shape, dtype=mean.dtype, device=mean.device)
        points = Gaussian(mean, factor).place(torch.cat([noise, -noise]))
        gradient, new = (part.double() for part in moments(points.to(dtype)))
        averaged = 1 if step < FRESH else averaged + 1
        running = new if averaged == 1 else running + (new - running) / averaged
        factor = positive_definite(running)
        change = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
        length = (change * gradient).sum(-1, keepdim=True).clamp(min=1e-30).sqrt()
        change = change * (size**0.5 / length).clamp(max=1.0) / max(1.0, averaged / 2)
        mean = mean + change
    return Gaussian(mean, factor)
