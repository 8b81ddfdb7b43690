"""Fits the proposals of a block of data: one Gaussian per mode found."""

import math
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrodgm.infer.evaluation.graphs import Graphs
from pyrodgm.infer.evaluation.refined import student
from pyrodgm.infer.evaluation.refined.coordinates import Coordinates
from pyrodgm.infer.evaluation.refined.curvature import without
from pyrodgm.infer.evaluation.refined.gauss_newton import (
    GRADIENT,
    LEVEL_DRAWS,
    PRIOR_DRAWS,
    START_DRAWS,
    Moments,
    Plan,
    fit,
    sharpen,
    skew,
    start,
)
from pyrodgm.infer.evaluation.refined.gaussian import Gaussian, Skew
from pyrodgm.infer.evaluation.refined.modes import SIDE_BY_SIDE, Draws, Modes, climb_from, distinct, search
from pyrodgm.infer.evaluation.refined.student import Mixture

NARROW = 4.0  # narrowing of the first points of a fit: at a decoder's turning point a mode's curvature is too small
NEAR = 8.0  # largest KL(proposal || prior), in nats, for which draws of the prior cover what the proposal misses


class Fitted(NamedTuple):
    """The result of fitting a block.

    Attributes:
        proposal: The mixture to draw from, whose components may be skewed for sticks.
        is_near_prior: Whether the proposal is so near the prior that draws of the prior cover the posterior, ``[B]``.
        modes: Points ``[modes, B, D]`` near the modes of data for which further modes were found, else NaN.
        cost: Decoder evaluations of the fit, ``[B]``.
    """

    proposal: Mixture
    is_near_prior: Tensor
    modes: Tensor
    cost: Tensor


def moments_of(coordinates: Coordinates, graphs: Graphs, x: Tensor) -> Moments:
    """The function that gives gradient, curvature and value of the joint density of ``x`` to fits and climbs."""

    def found(u: Tensor) -> tuple[Tensor, ...]:
        slope, curvature, value, *lacking = graphs.run(("moments", u.shape), coordinates.moments, (x, u))
        return slope, without(curvature, *lacking) if lacking else curvature, value  # ``without`` cannot be traced

    return found


class Fitting:
    """Fits proposals to the posteriors of a block ``[B, *event]``.

    Args:
        coordinates: Coordinates of the pair's latents.
        plan: Allocation of the evaluations per datum.
        block: Number of data per block.
        chunk: Number of points per datum at which the density of a block is evaluated at once.

    Attributes:
        graphs: Runs the programs, traced or eagerly.
    """

    def __init__(self, coordinates: Coordinates, plan: Plan, block: int, chunk: int) -> None:
        self.coordinates, self.plan, self.block, self.chunk = coordinates, plan, block, chunk
        self.graphs = Graphs("eager")

    def first(self, x: Tensor) -> Fitted:
        """The first fit, which the plan describes."""
        base = self.rough(x, self.plan)
        fits, points = [base], torch.full((self.plan.modes, *base.mean.shape), math.nan).to(x)
        cost = torch.full((len(x),), float(self.plan.fit_cost - self.plan.climbs * self.plan.climb_cost))
        if self.plan.searches:
            found = self._search(x, [self._modes(x, base)], 1)
            fits, rows, more = self._with_others(x, found, 1)
            cost += self._cost(found) + more
            for i, each in enumerate(fits):
                points[i, rows] = each.mean[rows].to(x)
        if self.plan.is_skewed:
            fits = [self._sharpened(x, each) for each in fits]
            cost += (len(fits) - 1) * self.plan.sharp_cost
        proposal = Mixture(tuple(fits))
        return Fitted(proposal, self._is_near_prior(x, proposal), points, cost)

    def again(self, x: Tensor, points: Tensor) -> Fitted:
        """The second fit, which searches for modes first; ``points`` (the first fit's ``modes``) start climbs too."""
        begin = self._start(x).mean.to(x.dtype)
        starts = [begin, *points]
        if self.coordinates.has_components:
            u = begin.unsqueeze(0)
            run = self.graphs_for(x).run
            starts.append(run(("components", u.shape), self.coordinates.components, (x, u)).squeeze(0))
        known = [climb_from(u, x, self.moments) for u in starts if u.isfinite().all(-1).any()]
        found = self._search(x, known, 0)
        cost = self._cost(found) + START_DRAWS + PRIOR_DRAWS
        fits = [self._fit(x, mode) for mode in distinct(found, self.plan.draws)[0]]
        cost += len(fits) * (self.plan.rounds_cost + LEVEL_DRAWS)
        fits, _, more = self._with_others(x, [*(self._modes(x, each) for each in fits), *found], len(fits))
        cost += more
        if self.coordinates.has_second_derivatives:
            fits = [self._sharpened(x, fitted) for fitted in fits]
            cost += len(fits) * self.plan.sharp_cost
        proposal = Mixture(tuple(fits))
        return Fitted(proposal, self._is_near_prior(x, proposal), points, cost)

    def rough(self, x: Tensor, plan: Plan) -> Gaussian:
        """A fit that starts from draws of the guide, without a search for modes."""
        return fit(self._start(x), plan, self.moments(x), x.dtype)

    def joint(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Log p(x, u) and log p(x | u), ``[count, B]``, at points ``[count, B, D]``."""
        parts, graphs = [], self.graphs_for(x)
        for part in u.split(self.chunk):
            usual = part.shape[:2] == (self.chunk, self.block)
            parts.append(graphs.run(("joint", part.shape), self.coordinates.log_joint, (x, part), compiled=usual))
        joints, givens = zip(*parts, strict=True)
        return torch.cat(joints), torch.cat(givens)

    def gradient(self, x: Tensor, graphs: Graphs, u: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient ``[points, B, D]`` and value ``[points, B]`` of log p(x, u)."""
        return graphs.run(("gradient", u.shape), self.coordinates.gradient, (x, u))

    def moments(self, x: Tensor) -> Moments:
        """The function :func:`moments_of` for some data."""
        return moments_of(self.coordinates, self.graphs_for(x), x)

    def graphs_for(self, x: Tensor) -> Graphs:
        """The graphs for a block; blocks of an unusual size run eagerly, as tracing would not pay for a single use."""
        usual = len(x) in (self.block, SIDE_BY_SIDE * self.block)
        return self.graphs if usual else Graphs("eager")

    def prior_draws(self, x: Tensor, count: int) -> Tensor:
        """Draws of the prior ``[count, B, D]``, computed in chunks; NaN if a prior has a density but no sampler."""
        if not self.coordinates.can_draw:
            return torch.full((count, len(x), self.plan.size), math.nan).to(x)
        parts, run = [], self.graphs_for(x).run
        for part in torch.arange(count).split(self.chunk):
            draw = partial(self.coordinates.prior_draws, count=len(part))
            parts.append(run(("prior", len(part), len(x)), draw, (x,)))
        return torch.cat(parts)

    def _is_near_prior(self, x: Tensor, proposal: Mixture) -> Tensor:
        """Whether KL(proposal || prior), estimated from a few draws, is small, ``[B]``."""
        if not (self.plan.searches and self.coordinates.can_draw):
            return torch.zeros(len(x), dtype=torch.bool, device=x.device)
        u, log_q = proposal.draw(LEVEL_DRAWS)
        joint, given = self.joint(x, u.to(x.dtype))
        return (log_q - (joint.double() - given.double())).mean(0) < NEAR

    def _start(self, x: Tensor) -> Gaussian:
        return start(self._guide_draws(x))

    def _guide_draws(self, x: Tensor) -> Tensor:
        def draw(x: Tensor) -> Tensor:
            return self.coordinates.guide_draws(x, START_DRAWS)

        return self.graphs_for(x).run(("guide", len(x)), draw, (x,))

    def _fit(self, x: Tensor, mode: Gaussian) -> Gaussian:
        """A fit from a mode, whose first points are close to it, since distant ones may lead to another mode."""
        return fit(Gaussian(mode.mean, NARROW * mode.factor), self.plan, self.moments(x), x.dtype)

    def _modes(self, x: Tensor, fitted: Gaussian) -> Modes:
        """The fit as a mode, with its integral estimated from a few draws."""
        near, log_q = student.draw(fitted, LEVEL_DRAWS)
        joint = self.joint(x, near.to(x.dtype))[0].double()
        return Modes(fitted, (joint - log_q).logsumexp(0) - math.log(LEVEL_DRAWS))

    def _with_others(self, x: Tensor, found: list[Modes], fitted: int) -> tuple[list[Gaussian], Tensor, Tensor]:
        """Complete the fits (the first ``fitted`` of ``found``) by fits to the modes that they do not explain.

        Returns all fits, the rows that were fitted anew, and the evaluations of each datum.
        """
        modes = distinct(found, self.plan.draws, fitted)[0]
        fits, cost = [each.gaussian for each in found[:fitted]], torch.zeros(len(x), dtype=torch.float64)
        known = [torch.stack([(mode.mean == each.mean).all(-1) for each in fits]).any(0) for mode in modes]
        rows = (~torch.stack(known).all(0)).nonzero().squeeze(-1)
        if len(rows):
            anew = [self._fit(x[rows], mode[rows]) for mode in modes]
            cost[rows.cpu()] += len(anew) * self.plan.rounds_cost
            count = max(len(fits), len(anew))  # data with fewer modes have the first repeated
            fits, anew = ([*each, *each[:1] * (count - len(each))] for each in (fits, anew))
            fits = [each.put(rows, other) for each, other in zip(fits, anew, strict=True)]
        return fits, rows, cost

    def _search(self, x: Tensor, known: list[Modes], fitted: int) -> list[Modes]:
        """The known modes and those found from draws of guide and prior; some of the prior's always start a climb."""
        guide, prior = self._guide_draws(x), self.prior_draws(x, PRIOR_DRAWS)
        u = torch.cat([guide, prior])
        draws = Draws(u, self.joint(x, u)[0], self.plan.draws)
        return search(x, known, fitted, prior[: self.plan.climbs], draws, self.moments)

    def _cost(self, found: list[Modes]) -> Tensor:
        """Decoder evaluations of the climbs that found the modes, ``[B]``."""
        each = [modes.points * self.plan.point_cost * modes.integral.isfinite().double() for modes in found]
        return torch.stack(each).sum(0).cpu()

    def _sharpened(self, x: Tensor, fitted: Gaussian) -> Gaussian:
        """The fit refined with the Hessian; for sticks also with skewnesses."""
        if self.plan.is_damped:
            points = max(self.plan.points) * (self.plan.size + GRADIENT) // GRADIENT
            graphs = self.graphs_for(x)
            fitted = skew(fitted, lambda u: self.gradient(x, graphs, u)[0], points, x.dtype)
        return sharpen(fitted, partial(self._second_moments, x, fitted.skew), x.dtype)

    def _second_moments(self, x: Tensor, skewed: Skew | None, points: Tensor) -> tuple[Tensor, ...]:
        """Second moments in parts of the block, as a column of a Hessian takes as much memory as a gradient."""

        def moments(x: Tensor, u: Tensor, *skewed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return self.coordinates.second_moments(x, u, Skew(*skewed) if skewed else None)

        graphs, found = self.graphs_for(x), []
        for i in torch.arange(len(x)).split(max(1, self.block // GRADIENT)):
            part: Any = () if skewed is None else skewed[i].to(x.dtype).parts
            found.append(graphs.run(("second moments", points[:, i].shape), moments, (x[i], points[:, i], *part)))
        return tuple(torch.cat(pieces) for pieces in zip(*found, strict=True))
