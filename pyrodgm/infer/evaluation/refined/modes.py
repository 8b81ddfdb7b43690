"""Search for further modes of the posterior from draws of guide and prior."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrodgm.infer.evaluation.refined.gauss_newton import MODES, PURSUED, Moments, climb
from pyrodgm.infer.evaluation.refined.gaussian import Gaussian
from pyrodgm.infer.evaluation.refined.student import Mixture

SIDE_BY_SIDE = 4  # climbs of a datum that run in one batch: as many as the points of a round
NEGLIGIBLE = 5.0  # a mode is dropped if its integral is this many nats below the largest
LOWEST = -1e300  # log-integral of the first mode where no mode has a finite one
SHARE = 0.2  # a mode counts as a further one if the weight of a draw at it exceeds this share of the sum of weights


@dataclass(frozen=True)
class Modes:
    """One mode of each datum of a block, with a Gaussian around it.

    Attributes:
        gaussian: Its precision is the curvature of the joint density.
        integral: Logarithm of the integral over the mode, ``[B]``; minus infinity for data without such a mode.
        points: Number of points per datum that were evaluated to find it.
    """

    gaussian: Gaussian
    integral: Tensor
    points: int = 0

    @property
    def peak(self) -> Tensor:
        """Logarithm of the joint density at the mode, by Laplace's method, ``[B]``."""
        size = self.gaussian.mean.shape[-1]
        log_det = self.gaussian.log_det(torch.zeros_like(self.gaussian.mean))
        return self.integral + log_det - 0.5 * size * math.log(2 * math.pi)


@dataclass(frozen=True)
class Draws:
    """Candidate points from which modes may be found.

    Attributes:
        u: Points from any distribution, ``[C, B, D]``.
        joint: Log p(x, u) at the points, ``[C, B]``.
        many: Number of draws of the proposal that will be weighed.
    """

    u: Tensor
    joint: Tensor
    many: int

    def weights(self, proposal: Mixture, level: Tensor) -> Tensor:
        """Log-weights the points would have as draws of a proposal, relative to the sum of its weights, ``[C, B]``.

        Args:
            proposal: The proposal.
            level: The current estimate of log p(x), ``[B]``.
        """
        known = torch.isfinite(self.u).all(-1) & torch.isfinite(self.joint)
        weight = self.joint.double() - proposal.log_density(self.u.double()) - level
        return torch.where(known, weight - math.log(self.many), -math.inf)


def climb_from(u: Tensor, x: Tensor, moments_of: Callable[[Tensor], Moments]) -> Modes:
    """Climb from points ``[B, D]`` to one mode per datum; data whose point is not finite get none."""
    begins = u.isfinite().all(-1)
    first = torch.where(begins.unsqueeze(-1), u, 0.0)  # climb for all data, so that the shapes fit one graph
    gaussian, integral, points = climb(first, begins, moments_of(x), x.dtype)
    return Modes(gaussian, torch.where(begins, integral, -math.inf), points)


def search(
    x: Tensor, known: list[Modes], fitted: int, starts: Tensor, draws: Draws, moments_of: Callable[[Tensor], Moments]
) -> list[Modes]:
    """Search for further modes of a block by climbs; returns the known modes and those found.

    The climbs from ``starts`` run in batches. Then up to :data:`PURSUED` climbs start from the draw that the modes
    found so far explain least, as long as the weight of such a draw would exceed the sum of all others and the previous
    climb found a new mode.

    Args:
        x: The data ``[B, *event]``.
        known: Known modes, at least one.
        fitted: Number of known modes, the first ones, that come from fits, as in :func:`distinct`.
        starts: Points ``[n, B, D]`` to climb from in any case.
        draws: Candidate points, such as draws of guide and prior.
        moments_of: Returns the moments function of some data, as in :func:`~.gauss_newton.fit`.
    """
    found, count = list(known), len(x)
    for group in starts.split(SIDE_BY_SIDE) if len(starts) else ():
        climbed = climb_from(group.flatten(0, 1), x.repeat(len(group), *[1] * (x.dim() - 1)), moments_of)
        parts = torch.arange(len(group) * count, device=x.device).split(count)
        found += [Modes(climbed.gaussian[part], climbed.integral[part], climbed.points) for part in parts]
    before = torch.zeros(count, dtype=torch.long, device=x.device)
    for _ in range(PURSUED):
        level = torch.stack([modes.integral for modes in found]).max(0).values
        modes, known_by_now = distinct(found, draws.many, fitted)
        worst = draws.weights(Mixture(tuple(modes)), level).max(0)
        promising = (worst.values > 0) & (known_by_now > before)  # a draw in the tail of a known mode leads back to it
        if not promising.any():
            break
        begin = draws.u.gather(0, worst.indices[None, :, None].expand(1, *draws.u.shape[1:])).squeeze(0)
        found.append(climb_from(begin.masked_fill(~promising.unsqueeze(-1), math.nan), x, moments_of))
        before = known_by_now
    return found


def distinct(found: list[Modes], many: int, fitted: int = 0) -> tuple[list[Gaussian], Tensor]:
    """The distinct modes of each datum, and their number, ``[B]``.

    The first ``fitted`` modes take precedence, then those with larger integrals. Dropped are modes with a negligible
    integral, and modes explained by the ones already taken: a proposal of t's around these would give draws there. Fits
    come first since a climb explains too much where the curvature at the mode is too small, as at a turning point of a
    decoder. Data with fewer modes than others have their first mode repeated.
    """
    left = torch.stack([modes.integral for modes in found]).nan_to_num(-math.inf, math.inf, -math.inf)
    left[0] = torch.where(left.isfinite().any(0), left[0], LOWEST)  # keep one mode where densities overflow
    least, modes = left.max(0).values - NEGLIGIBLE, list[Gaussian]()
    order = torch.arange(len(found), device=left.device).clamp(max=fitted).unsqueeze(-1)
    level = torch.full_like(least, -math.inf)
    count = torch.zeros_like(least, dtype=torch.long)
    while len(modes) < MODES and (left >= least).any():
        first = torch.where(left >= least, order, len(found)).min(0).values
        best = torch.where(order == first, left, -math.inf).max(0)
        is_new = best.values >= least
        mode = modes[0] if modes else found[0].gaussian
        for i, each in enumerate(found):
            mode = Gaussian.choose((best.indices == i) & is_new, each.gaussian, mode)
        modes.append(mode)
        count, level = count + is_new, torch.where(is_new, torch.logaddexp(level, best.values), level)
        for i, each in enumerate(found):
            mean = Draws(each.gaussian.mean.unsqueeze(0), each.peak.unsqueeze(0), many)
            explained = mean.weights(Mixture(tuple(modes)), level).squeeze(0) <= math.log(SHARE)
            left[i] = torch.where(explained | (best.indices == i), -math.inf, left[i])
    return modes, count
