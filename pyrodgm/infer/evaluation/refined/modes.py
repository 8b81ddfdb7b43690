"""Modes of a posterior that the guide's answer does not lead to, from draws of guide and prior."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrodgm.infer.evaluation.refined.gauss_newton import MODES, PURSUED, Moments, climb
from pyrodgm.infer.evaluation.refined.gaussian import Gaussian
from pyrodgm.infer.evaluation.refined.student import Mixture

SIDE_BY_SIDE = 4  # climbs of a datum; as many points as the rounds of a fit have
NEGLIGIBLE = 5.0  # nats by which the integral of a mode is below the largest, from which it is left out
LOWEST = -1e300  # of an integral that is not finite
SHARE = 0.2  # of the sum of all weights, which a draw at a mode alone must exceed for the mode to count as another


@dataclass(frozen=True)
class Modes:
    """A Gaussian at one mode of each datum of a block.

    Attributes:
        gaussian: With the curvature of the joint density as its precision.
        integral: Logarithm of the integral over the mode, ``[B]``; minus infinity where a datum has none here.
        points: At which the density was evaluated on the way.
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
    """Draws that may lead to modes.

    Attributes:
        u: ``[C, B, D]``, of anything.
        joint: Log p(x, u) of these, ``[C, B]``.
        many: Draws that a proposal will be weighed with.
    """

    u: Tensor
    joint: Tensor
    many: int

    def weights(self, proposal: Mixture, level: Tensor) -> Tensor:
        """Logarithms of their weights under a proposal, relative to the sum of all that it will give, ``[C, B]``.

        Args:
            proposal: Of which they might have been drawn.
            level: Log p(x) as it is estimated, ``[B]``.
        """
        known = torch.isfinite(self.u).all(-1) & torch.isfinite(self.joint)
        weight = self.joint.double() - proposal.log_density(self.u.double()) - level
        return torch.where(known, weight - math.log(self.many), -math.inf)


def climb_from(u: Tensor, x: Tensor, moments_of: Callable[[Tensor], Moments]) -> Modes:
    """The modes that climbs from points ``[B, D]`` end at, one a datum; none where a point is not finite."""
    begins = u.isfinite().all(-1)
    first = torch.where(begins.unsqueeze(-1), u, 0.0)  # all climb, so that one graph serves
    gaussian, integral, points = climb(first, begins, moments_of(x), x.dtype)
    return Modes(gaussian, torch.where(begins, integral, -math.inf), points)


def search(
    x: Tensor, known: list[Modes], fitted: int, starts: Tensor, draws: Draws, moments_of: Callable[[Tensor], Moments]
) -> list[Modes]:
    """Known modes of a block and those that climbs from other points lead to.

    Climbs begin at the starts, side by side, and then at the draw that the modes found so far explain the least, as
    long as the weight of one would be more than the sum of all others and the climb before led to another mode.

    Args:
        x: The data ``[B, *event]``.
        known: At least one.
        fitted: How many of them, the first, have been fitted, as in :func:`distinct`.
        starts: Points ``[n, B, D]``.
        draws: Of guide and prior, say.
        moments_of: Gives the moments of some data, as in :func:`~.gauss_newton.fit`.
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
        promising = (worst.values > 0) & (known_by_now > before)  # a climb back to a known mode was one from its tail
        if not promising.any():
            break
        begin = draws.u.gather(0, worst.indices[None, :, None].expand(1, *draws.u.shape[1:])).squeeze(0)
        found.append(climb_from(begin.masked_fill(~promising.unsqueeze(-1), math.nan), x, moments_of))
        before = known_by_now
    return found


def distinct(found: list[Modes], many: int, fitted: int = 0) -> tuple[list[Gaussian], Tensor]:
    """The modes of each datum, the first ``fitted`` and then by falling integral, and how many it has, ``[B]``.

    Left out are those of negligible integral, and those at which a t around others would have given draws: where the
    weight at the mode is not unexplained. A fit to a mode explains less than its climb where the curvature at the mode
    is too small, as at a turning point of a decoder. A datum with fewer than another has its first more than once.
    """
    left = torch.stack([modes.integral for modes in found]).nan_to_num(-math.inf, math.inf, -math.inf)
    left[0] = torch.where(left.isfinite().any(0), left[0], LOWEST)  # one at least, where densities overflow
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
