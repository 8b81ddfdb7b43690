"""A Gaussian with full covariance fitted to the posterior of each datum by variational Gauss-Newton steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyrodgm.infer.evaluation.refined.curvature import positive_definite
from pyrodgm.infer.evaluation.refined.gaussian import Gaussian, Skew

START_DRAWS = 32  # draws of the guide that the start is taken from; they run no decoder
FRESH = 2  # rounds that take the new curvature; later ones take the running mean
EARLY = 4  # rounds that take the mean of the old curvature and the new, where the fit is damped
USUAL = (2, 2, 4, 4, 4, 4)  # points of each round, in antithetic pairs: few where the curvature is thrown away
DAMPED = (2, 2, 2, 2, 4, 4, 4, 4, 4, 4)  # of fits to sticks
SHARP = (4, 4, 4)  # points of each round with the Hessian itself
SHARP_SKEWED = (4, 4, 4, 4)  # of skewed fits
SKEW_PAIRS = 128  # antithetic pairs of points that skewnesses are estimated from
BEFORE = 2  # rounds that the curvature of a fit counts as when those with the Hessian are averaged with it
SMALLEST = 0.3  # least curvature of a mean Hessian, relative to that of the fit before
QUICK = ((2,) * 6, (2,) * 4, (2,) * 3)  # for budgets too small for these
GRADIENT = 3  # evaluations that a value with its gradient costs, and a column of a Hessian
PRIOR_DRAWS = 64  # of which some may lie near modes that the guide does not know
LEVEL_DRAWS = 32  # of a fit, for rough values of log p(x) and of the distance to the prior
CLIMB = 16  # steps towards a mode at most
ARRIVED = 0.03  # length of the next step, in the metric of the curvature, at which a climb ends
CLIMBS = 16  # climbs from draws of the prior at most
CLIMBED = 640  # evaluations of a datum that these may cost
PURSUED = 3  # climbs from draws that no mode found so far explains
MODES = 8  # of a datum that are fitted at most
DRAWS = 2000  # fresh draws where no budget is given: of fewer k-hat is noisy

Moments = Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Plan:
    """How the decoder evaluations of a datum are spent.

    Attributes:
        points: Points of each Gauss-Newton step, in antithetic pairs.
        draws: Fresh draws that are weighed.
        size: Latent dimensions.
        is_damped: Whether the first steps average the old curvature and the new.
        is_quick: Whether the budget allows a short fit alone, which gets no later stages.
        is_skewed: Whether the first fit has skewnesses and the rounds with the Hessian too.
        searches: Whether modes are looked for that the guide's answer does not lead to.
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
        """The plan for ``budget`` decoder evaluations a datum and ``size`` latent dimensions; None if too few.

        A point costs one evaluation for each forward derivative and three for value and gradient. The fit gets up to
        half of the budget. With no budget it is the usual one, and 2,000 draws. A damped fit is skewed if it can be and
        the budget allows it, and so is a search for modes made.
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
        """Those of the search for modes that the guide's answer does not lead to."""
        if not self.searches:
            return 0
        return START_DRAWS + PRIOR_DRAWS + 2 * LEVEL_DRAWS + self.climbs * self.climb_cost

    @property
    def climbs(self) -> int:
        """Climbs from draws of the prior: none where there are so many latents that they would not arrive."""
        return min(CLIMBS, 2 * (CLIMBED // (2 * self.climb_cost)))

    @property
    def modes(self) -> int:
        """Modes of a datum that can be fitted: of the first fit, of each climb."""
        return min(MODES, 1 + self.climbs + PURSUED)

    @property
    def point_cost(self) -> int:
        """Evaluations of the gradient and the curvature at a point."""
        return self.size + GRADIENT

    @property
    def climb_cost(self) -> int:
        """Those of a climb, of which most take fewer than half of the steps."""
        return CLIMB // 2 * self.point_cost

    @property
    def rounds_cost(self) -> int:
        """Those of its Gauss-Newton steps."""
        return sum(self.points) * self.point_cost

    @property
    def sharp_cost(self) -> int:
        """Those of the rounds with the Hessian, and of the skewnesses."""
        points, skewness = (SHARP_SKEWED, 2 * SKEW_PAIRS * GRADIENT) if self.is_damped else (SHARP, 0)
        return sum(points) * GRADIENT * (self.size + 1) + skewness

    @staticmethod
    def least_budget(size: int) -> int:
        """The smallest budget that :meth:`of_budget` takes."""
        return 2 * sum(QUICK[-1]) * (size + GRADIENT)


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
    two rounds the curvature is a running mean (damped, in the first four, that of old and new); a step has at most the
    length sqrt(D) in the metric A, and shrinks as rounds are averaged.

    Args:
        first: Where to start.
        plan: Numbers of rounds and points.
        moments: Gives mean gradient ``[B, D]``, mean curvature ``[B, D, D]`` and mean value ``[B]`` at points
            ``[points, B, D]``.
        dtype: That of the points.

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
    """Further rounds with the Hessian itself, of which the Gauss-Newton curvature leaves a part out.

    The running mean begins with the curvature of the fit; what is too small in it, or negative, is raised to a share
    of that.

    Args:
        fitted: The result of :func:`fit` or :func:`skew`.
        moments: As there, with minus the Hessian as the curvature; in w, where the fit is skewed.
        dtype: That of the points.

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
    r"""The same Gaussian in coordinates w in which log p has no third derivative along the axes, to first order.

    .. math:: \gamma_i = \mathbb E_q\bigl[\tau_i^3\, \partial_i^3 \log p(u)\bigr]
        = \mathbb E_q\bigl[\tau_i\, \partial_i \log p(u)\, (y_i^2 - 1)\bigr], \qquad y_i = \tau_i\, [A (u - m)]_i,
        \quad \tau_i = A_{ii}^{-1/2}

    by Stein's identity, from antithetic pairs of points, which cancel what is even in it.

    Args:
        fitted: The result of :func:`fit`.
        gradient: Gives the gradient ``[points, B, D]`` of log p at points u.
        points: Points at once.
        dtype: That of the points.
    """
    scale = fitted.factor.square().sum(-1).rsqrt()
    total = torch.zeros_like(scale)
    for part in torch.arange(SKEW_PAIRS).split(max(1, points // 2)):
        noise = _pairs(2 * len(part), scale)
        slope = scale * gradient(fitted.place(noise).to(dtype)).double()
        y = scale * torch.einsum("bij,mbj->mbi", fitted.factor, noise)
        total = total + (slope * (y.square() - 1.0)).sum(0)
    skewness = (total / (2 * SKEW_PAIRS)).nan_to_num(0.0, 0.0, 0.0)  # where a gradient overflows
    factor = scale.unsqueeze(-1) * fitted.factor
    return Gaussian(torch.zeros_like(scale), factor, Skew.of_skewness(fitted.mean, scale, skewness))


def climb(first: Tensor, wanted: Tensor, moments: Moments, dtype: torch.dtype) -> tuple[Gaussian, Tensor, int]:
    """Gauss-Newton steps towards a mode of the joint density, within a radius that grows and shrinks with success.

    They end where the next would gain nothing for any that is wanted.

    Args:
        first: Where to start, ``[B, D]``.
        wanted: Which data are to arrive, ``[B]``; others climb along.
        moments: As in :func:`fit`.
        dtype: That of the points.

    Returns:
        The Gaussian with that mode and its curvature, the logarithm of its integral by Laplace's method, ``[B]``, and
        the number of points that were evaluated.

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
    """Standardised points ``[count, B, D]`` in antithetic pairs."""
    noise = torch.randn(count // 2, *like.shape, dtype=like.dtype, device=like.device)
    return torch.cat([noise, -noise])


def _step(gradient: Tensor, factor: Tensor, radius: Tensor | float) -> Tensor:
    """The Gauss-Newton step, of at most the length ``radius`` in the metric whose Cholesky factor is given."""
    change, length = _newton(gradient, factor)
    return _finite((change * (radius / length).clamp(max=1.0)).unsqueeze(-1)).squeeze(-1)


def _newton(gradient: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """The whole step ``[B, D]``, and its length ``[B, 1]`` in that metric."""
    change = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
    return change, (change * gradient).sum(-1, keepdim=True).clamp(min=1e-30).sqrt()


def _finite(change: Tensor) -> Tensor:
    """No change ``[B, *, *]`` of a datum for which the density overflows."""
    return torch.where(change.isfinite().all(-1).all(-1)[:, None, None], change, 0.0)
