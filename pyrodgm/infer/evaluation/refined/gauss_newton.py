"""Fits a full-covariance Gaussian to the posterior of each datum by variational Gauss-Newton steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyrodgm.infer.evaluation.refined.curvature import positive_definite
from pyrodgm.infer.evaluation.refined.gaussian import Gaussian, Skew

START_DRAWS = 32  # draws of the guide for the start of the fit; they run no decoder
FRESH = 2  # rounds that use the new curvature; later ones use the running mean
EARLY = 4  # rounds of a damped fit that average the old and the new curvature
USUAL = (2, 2, 4, 4, 4, 4)  # points per round, in antithetic pairs: few in rounds whose curvature is discarded
DAMPED = (2, 2, 2, 2, 4, 4, 4, 4, 4, 4)  # points per round of fits to sticks
SHARP = (4, 4, 4)  # points per round with the Hessian itself
SHARP_SKEWED = (4, 4, 4, 4)  # the same for skewed fits
SKEW_PAIRS = 128  # antithetic pairs of points for the estimate of skewnesses
BEFORE = 2  # weight of the fit's curvature, in rounds, in the running mean with the Hessians
SMALLEST = 0.3  # smallest curvature of the mean Hessian, relative to that of the fit before
QUICK = ((2,) * 6, (2,) * 4, (2,) * 3)  # points per round for budgets too small for the usual fit
GRADIENT = 3  # cost in evaluations of a value with its gradient, and of a column of a Hessian
PRIOR_DRAWS = 64  # draws of the prior, some of which may lie near modes that the guide misses
LEVEL_DRAWS = 32  # draws of a fit for rough estimates of log p(x) and of the distance to the prior
CLIMB = 16  # most steps of a climb to a mode
ARRIVED = 0.03  # a climb ends when the next step is shorter, in the metric of the curvature
CLIMBS = 16  # most climbs per datum from draws of the prior
CLIMBED = 640  # most evaluations per datum of these climbs
PURSUED = 3  # most climbs from draws that no known mode explains
MODES = 8  # most modes fitted per datum
DRAWS = 2000  # fresh draws where no budget is given: with fewer k-hat is noisy

Moments = Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Plan:
    """Allocation of the decoder evaluations per datum to fit, search and draws.

    Attributes:
        points: Number of points of each Gauss-Newton round, in antithetic pairs.
        draws: Number of fresh draws that are weighed.
        size: Number of latent dimensions.
        is_damped: Whether the first rounds average the old and the new curvature.
        is_quick: Whether the budget allows a shortened fit only; there are no later stages then.
        is_skewed: Whether the first fit includes skewnesses and rounds with the Hessian.
        searches: Whether to search for modes that the fit from the guide does not find.
    """

    points: tuple[int, ...]
    draws: int
    size: int
    is_damped: bool = False
    is_quick: bool = False
    is_skewed: bool = False
    searches: bool = True

    @classmethod
    def of_budget(cls, budget: int | None, size: int, is_damped: bool = False, can_skew: bool = False) -> "Plan | None":
        """The plan for a budget of decoder evaluations per datum and ``size`` latent dimensions; None if too small.

        A point costs one evaluation for each forward derivative and three for value and gradient. The fit gets at most
        half of the budget. Without a budget the fit is the usual one, followed by 2,000 draws. Skewness of a damped fit
        (with ``can_skew``) and the search for modes are included if the budget allows them.
        """
        usual, skewed = DAMPED if is_damped else USUAL, is_damped and can_skew
        whole = [(usual, skew, searches) for skew in (skewed, False) for searches in (True, False)]
        for points, skew, searches in (*whole, *((points, False, False) for points in QUICK)):
            plan = cls(points, DRAWS, size, is_damped, points != usual, skew, searches)
            if budget is None or 2 * plan.fit_cost <= budget:
                return plan if budget is None else replace(plan, draws=budget - plan.fit_cost)
        return None

    @property
    def fit_cost(self) -> int:
        """Decoder evaluations of the first fit."""
        return self.rounds_cost + self.is_skewed * self.sharp_cost + self.search_cost

    @property
    def search_cost(self) -> int:
        """Decoder evaluations of the search for further modes."""
        if not self.searches:
            return 0
        return START_DRAWS + PRIOR_DRAWS + 2 * LEVEL_DRAWS + self.climbs * self.climb_cost

    @property
    def climbs(self) -> int:
        """Number of climbs from draws of the prior: none with so many latents that they exceed their budget."""
        return min(CLIMBS, 2 * (CLIMBED // (2 * self.climb_cost)))

    @property
    def modes(self) -> int:
        """Most modes that can be fitted per datum: that of the first fit and one of each climb."""
        return min(MODES, 1 + self.climbs + PURSUED)

    @property
    def point_cost(self) -> int:
        """Decoder evaluations for gradient and curvature at a point."""
        return self.size + GRADIENT

    @property
    def climb_cost(self) -> int:
        """Decoder evaluations budgeted for a climb; most climbs take fewer than half of the steps."""
        return CLIMB // 2 * self.point_cost

    @property
    def rounds_cost(self) -> int:
        """Decoder evaluations of the Gauss-Newton rounds."""
        return sum(self.points) * self.point_cost

    @property
    def sharp_cost(self) -> int:
        """Decoder evaluations of the rounds with the Hessian and of the skewnesses."""
        points, skewness = (SHARP_SKEWED, 2 * SKEW_PAIRS * GRADIENT) if self.is_damped else (SHARP, 0)
        return sum(points) * GRADIENT * (self.size + 1) + skewness

    @staticmethod
    def least_budget(size: int) -> int:
        """The smallest budget that :meth:`of_budget` takes."""
        return 2 * sum(QUICK[-1]) * (size + GRADIENT)


def start(draws: Tensor) -> Gaussian:
    """Diagonal Gaussians with the means and variances of draws ``[count, B, D]``."""
    draws = draws.double()
    scale = draws.std(0).clamp(min=1e-4)
    return Gaussian(draws.mean(0), torch.diag_embed(scale.reciprocal()))


def fit(first: Gaussian, plan: Plan, moments: Moments, dtype: torch.dtype) -> Gaussian:
    r"""Fit Gaussians by variational Gauss-Newton steps.

    .. math:: A \leftarrow \overline{J^\top F J + \Lambda}, \qquad
        m \leftarrow m + A^{-1} \bar g, \qquad q = \mathcal N(m, A^{-1})

    The bars are means over points of q. At the fixed point the mean gradient is zero and the precision is the mean
    curvature: this is the Gaussian nearest in KL(q || p), with Gauss-Newton curvature in place of the Hessian. The
    first two rounds use the new curvature, the later ones a running mean; a damped fit averages the old and the new
    curvature in its first four rounds instead. A step is at most sqrt(D) long in the metric A, and shrinks as more
    rounds are averaged.

    Args:
        first: The Gaussian to start from.
        plan: Number of rounds, and of points per round.
        moments: Returns mean gradient ``[B, D]``, mean curvature ``[B, D, D]`` and mean value ``[B]`` of log p(x, u)
            over points ``[points, B, D]``.
        dtype: Dtype of the points.

    Source: Khan and Rue (2023), arXiv 2107.04562, section 4 (the natural-gradient step); Schraudolph (2002), Neural
    Computation 14, 1723 (Gauss-Newton curvature).
    """
    mean, factor = first.mean, first.factor
    running = factor @ factor.mT
    averaged, early = 1, EARLY if plan.is_damped else FRESH
    for step, count in enumerate(plan.points):
        points = Gaussian(mean, factor).place(_pairs(count, mean))
        gradient, new, _ = (part.double() for part in moments(points.to(dtype)))
        averaged = 1 if step < early else averaged + 1
        share = 1.0 / averaged if averaged > 1 or not plan.is_damped else 0.5
        running = running + share * _finite(new - running)
        factor = positive_definite(running)
        mean = mean + _step(gradient, factor, plan.size**0.5) / max(1.0, averaged / 2)
    return Gaussian(mean, factor)


def sharpen(fitted: Gaussian, moments: Moments, dtype: torch.dtype) -> Gaussian:
    """Refine a fit by further rounds with the Hessian in place of the Gauss-Newton curvature, which is a part of it.

    The running mean starts from the curvature of the fit. Its eigenvalues relative to that curvature are clamped from
    below, as they may be negative.

    Args:
        fitted: The result of :func:`fit` or :func:`skew`.
        moments: As in :func:`fit`, with minus the Hessian as the curvature; of the density in w, if the fit is skewed.
        dtype: Dtype of the points.

    Source: Khan and Rue (2023), arXiv 2107.04562, equation 4: the precision is the mean Hessian at the fixed point.
    """
    mean, factor = fitted.mean, fitted.factor
    inverse = torch.linalg.inv(factor)
    running = torch.eye(mean.shape[-1]).to(mean).expand_as(factor)  # in the coordinates where the fit is a standard one
    rounds = SHARP if fitted.skew is None else SHARP_SKEWED
    for averaged, count in enumerate(rounds, BEFORE + 1):
        points = Gaussian(mean, factor).place(_pairs(count, mean))
        gradient, new, _ = (part.double() for part in moments(points.to(dtype)))
        running = running + _finite(inverse @ new @ inverse.mT - running) / averaged
        values, vectors = torch.linalg.eigh(0.5 * (running + running.mT))
        raised = vectors @ torch.diag_embed(values.clamp(min=SMALLEST)) @ vectors.mT
        factor = fitted.factor @ positive_definite(raised)
        mean = mean + _step(gradient, factor, mean.shape[-1] ** 0.5) / max(1.0, averaged / 2)
    return Gaussian(mean, factor, fitted.skew)


def skew(fitted: Gaussian, gradient: Callable[[Tensor], Tensor], points: int, dtype: torch.dtype) -> Gaussian:
    r"""Change to coordinates w in which log p has no mean third derivative along the axes, to first order.

    .. math:: \gamma_i = \mathbb E_q\bigl[\tau_i^3\, \partial_i^3 \log p(u)\bigr]
        = \mathbb E_q\bigl[\tau_i\, \partial_i \log p(u)\, (y_i^2 - 1)\bigr], \qquad y_i = \tau_i\, [A (u - m)]_i,
        \quad \tau_i = A_{ii}^{-1/2}

    by Stein's identity, estimated from antithetic pairs of points, which cancel the odd terms of the integrand.

    Args:
        fitted: The result of :func:`fit`.
        gradient: Returns the gradient ``[points, B, D]`` of log p at points u.
        points: Number of points evaluated at once.
        dtype: Dtype of the points.
    """
    scale = fitted.factor.square().sum(-1).rsqrt()
    total = torch.zeros_like(scale)
    for part in torch.arange(SKEW_PAIRS).split(max(1, points // 2)):
        noise = _pairs(2 * len(part), scale)
        slope = scale * gradient(fitted.place(noise).to(dtype)).double()
        y = scale * torch.einsum("bij,mbj->mbi", fitted.factor, noise)
        total = total + (slope * (y.square() - 1.0)).sum(0)
    skewness = (total / (2 * SKEW_PAIRS)).nan_to_num(0.0, 0.0, 0.0)  # gradients may overflow
    factor = scale.unsqueeze(-1) * fitted.factor
    return Gaussian(torch.zeros_like(scale), factor, Skew.of_skewness(fitted.mean, scale, skewness))


def climb(first: Tensor, wanted: Tensor, moments: Moments, dtype: torch.dtype) -> tuple[Gaussian, Tensor, int]:
    """Climb to a mode of the joint density by Gauss-Newton steps with a trust region.

    The climb ends when the next step would be negligible for all wanted data, or after :data:`CLIMB` steps.

    Args:
        first: Starting points, ``[B, D]``.
        wanted: Mask of the data that decide when the climb ends, ``[B]``; the others climb along.
        moments: As in :func:`fit`.
        dtype: Dtype of the points.

    Returns:
        The Gaussian with the mode as its mean and the curvature there as its precision; the logarithm of the integral
        over the mode by Laplace's method, ``[B]``; and the number of points evaluated per datum.

    Source: Nocedal and Wright (2006), Numerical Optimization, algorithm 4.1.
    """
    mean = first.double()
    gradient, new, value = (part.double() for part in moments(mean.to(dtype).unsqueeze(0)))
    factor, radius = positive_definite(new), torch.full_like(mean[:, :1], mean.shape[-1] ** 0.5)
    count = 1
    while count <= CLIMB and (_newton(gradient, factor)[1][wanted] > ARRIVED).any():
        tried = mean + _step(gradient, factor, radius)
        slope, new, height = (part.double() for part in moments(tried.to(dtype).unsqueeze(0)))
        better = (height > value).unsqueeze(-1)
        radius = torch.where(better, 2.0 * radius, 0.25 * radius)
        mean, gradient = torch.where(better, tried, mean), torch.where(better, slope, gradient)
        factor = torch.where(better.unsqueeze(-1), positive_definite(new), factor)
        value = torch.where(height > value, height, value)
        count += 1
    found = Gaussian(mean, factor)
    size = mean.shape[-1]
    return found, value - found.log_det(torch.zeros_like(mean)) + 0.5 * size * math.log(2 * math.pi), count


def _pairs(count: int, like: Tensor) -> Tensor:
    """Standard normal points ``[count, B, D]`` in antithetic pairs."""
    noise = torch.randn(count // 2, *like.shape, dtype=like.dtype, device=like.device)
    return torch.cat([noise, -noise])


def _step(gradient: Tensor, factor: Tensor, radius: Tensor | float) -> Tensor:
    """The Gauss-Newton step, shortened to the length ``radius`` in the metric whose Cholesky factor is given."""
    change, length = _newton(gradient, factor)
    return _finite((change * (radius / length).clamp(max=1.0)).unsqueeze(-1)).squeeze(-1)


def _newton(gradient: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """The full Gauss-Newton step ``[B, D]``, and its length ``[B, 1]`` in the metric with this Cholesky factor."""
    change = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
    return change, (change * gradient).sum(-1, keepdim=True).clamp(min=1e-30).sqrt()


def _finite(change: Tensor) -> Tensor:
    """The change ``[B, *, *]``, zero for data for which an entry is not finite."""
    return torch.where(change.isfinite().all(-1).all(-1)[:, None, None], change, 0.0)
