"""Importance samples from refined proposals, with further stages for the data that need them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrodgm.infer.estimators.sites import Trace
from pyrodgm.infer.evaluation.diagnostics import is_flagged, summarise
from pyrodgm.infer.evaluation.graphs import Graphs, choose_mode
from pyrodgm.infer.evaluation.memory import even, growth
from pyrodgm.infer.evaluation.refined import student
from pyrodgm.infer.evaluation.refined.annealing import LEAPFROGS, anneal
from pyrodgm.infer.evaluation.refined.coordinates import Coordinates
from pyrodgm.infer.evaluation.refined.gauss_newton import (
    GRADIENT,
    START_DRAWS,
    Plan,
    climb,
    fit,
    sharpen,
    skew,
    start,
)
from pyrodgm.infer.evaluation.refined.gaussian import Gaussian, Skew
from pyrodgm.infer.tracing.contexts import fork_rng

CLIMB = 16  # steps towards a mode before the second fit
APART = 1.0  # distance of two modes, in the metric of the curvature, from which both are fitted
CHAINS, TEMPERATURES = 64, (24, 64)  # of the last stage; more temperatures for data that stay flagged
GUIDE, REFINED, REFITTED, ANNEALED = 0, 1, 2, 3  # stages
ROUGH = (2, 2, 2, 2)  # points of each step of the fits that say how to centre
CENTRING_ROUNDS = 2  # times that these are made
FEW = 2  # blocks of flagged data up to which tracing the later stages does not pay
LONG = 100  # temperatures from which tracing a single annealing does

Rows = tuple[Tensor, Gaussian]  # indices of data, and what is fitted to them


class RefinedSampler:
    """Fits a proposal for each datum, draws afresh and weighs, a block of data at a time, within a memory bound.

    Data whose weights cannot be trusted are fitted again with a search for the mode first, from the guide's answer and,
    where a prior is a mixture, from its responsible component too, and get as many draws again, of these fits; those
    still untrusted are annealed from there. No draw that a fit or a diagnostic has seen is weighed.

    Args:
        coordinates: Of the pair.
        x: Some data, ``[N, *event]``, evenly spread: rough fits to them say how to centre latents of several levels.
        count: Data in all.
        plan: How the evaluations of a datum are spent.
        max_bytes: Bound on the memory.
        mode: How the programs run; ``"auto"``: traced where there are blocks enough to pay for it.

    Attributes:
        block: Data that are fitted at a time.
        batch: Data that are annealed at a time.
        chunk: Draws of a block that are weighed at a time.
    """

    def __init__(self, coordinates: Coordinates, x: Tensor, count: int, plan: Plan, max_bytes: int, mode: str) -> None:
        self.coordinates, self.plan, self.num_samples = coordinates, plan, plan.draws
        self.graphs, one = Graphs("eager"), x[:1]
        with fork_rng(x.device):
            draw_bytes = growth(lambda n: coordinates.log_joint(one, x.new_zeros(n, 1, plan.size)))
        fit_bytes = max(plan.points) * (plan.size + GRADIENT) * draw_bytes  # a tangent takes as much as a value
        held = 5 * 8 * plan.size * plan.draws  # of all draws of a datum
        self.block = even(count, int(max_bytes / 2 / max(fit_bytes, held)))
        self.batch = self._data_at_once(CHAINS)
        self.chunk = even(plan.draws, int(max_bytes / 2 / (draw_bytes * self.block)))
        with fork_rng(x.device), torch.no_grad():
            torch.manual_seed(0)  # so that the coordinates do not depend on the seed
            for _ in range(CENTRING_ROUNDS * coordinates.is_hierarchical):
                self._centre(x)
        self.graphs = Graphs(choose_mode(mode, count, self.block))

    def weigh(self, x: Tensor, keep: bool) -> dict[str, Any]:
        """Log-likelihood, effective sample size, k-hat and stage of a block ``[B, *event]``, on the CPU."""
        gaussian = self.fit(x)
        u, log_weights, given = self._draw(x, [gaussian], self.plan.draws)
        result = self._summary(log_weights, REFINED, self.plan.fit_cost + self.plan.draws)
        if keep:
            result["log_weights"], result["pointwise"] = log_weights.cpu(), given.cpu()
            values = [self.coordinates.values(x, part) for part in u.split(self.chunk)]
            result["draws"] = {name: torch.cat([part[name] for part in values]).cpu() for name in values[0]}
        return result

    def weigh_again(
        self, rows: Tensor, take: Callable[[Tensor], Tensor], put: Callable[[Tensor, dict[str, Any]], None]
    ) -> None:
        """The later stages, for data that :meth:`weigh` has flagged.

        Args:
            rows: Their indices.
            take: Gives the data of such indices.
            put: Is told what a stage has found for some of them, as :meth:`weigh` returns it; ``evaluations`` are those
                of that stage alone.
        """
        if len(rows) <= FEW * self.block:
            self.graphs = Graphs("eager")
        still: Iterable[Rows] = self._refitted(rows, take, put)
        for temperatures in TEMPERATURES:
            still = self._annealed(still, temperatures, take, put)
        for _ in still:  # runs the stages, each as soon as the one before has left it a batch
            pass

    def _refitted(self, rows: Tensor, take: Callable[..., Tensor], put: Callable[..., None]) -> Iterator[Rows]:
        """Gives what stays flagged."""
        for block in rows.split(self.block):
            x, count = take(block), self.plan.draws
            fits, cost = self.refit(x)
            result = self._summary(self._draw(x, fits, count)[1], REFITTED, cost + count)
            put(block, result)
            yield _flagged(block, fits[0], result)

    def _annealed(
        self, fitted: Iterable[Rows], temperatures: int, take: Callable[..., Tensor], put: Callable[..., None]
    ) -> Iterator[Rows]:
        """Gives what stays flagged."""
        betas = torch.linspace(0.0, 1.0, temperatures + 1, dtype=torch.float64)
        cost = CHAINS * (1 + LEAPFROGS * (temperatures - 1)) * GRADIENT
        for rows, fits in _batches(fitted, self.batch):
            x, begin = take(rows), fits.standardise(student.draw(fits, CHAINS)[0])
            result = self._summary(self._anneal(x, fits, begin, betas, self._graphs(x)), ANNEALED, cost)
            put(rows, result)
            yield _flagged(rows, fits, result)

    def fit(self, x: Tensor) -> Gaussian:
        """The Gaussians of a block, those of sticks skewed."""
        fitted = fit(self._start(x), self.plan, self._moments(x), x.dtype)
        return self._sharpened(x, fitted) if self.plan.is_skewed else fitted

    def refit(self, x: Tensor) -> tuple[list[Gaussian], int]:
        """Those of fits that search for the mode first, and the evaluations that they cost a datum.

        One, or two where a second start finds another mode for some of the data: that of the larger integral first.
        """
        moments, begin = self._moments(x), self._start(x).mean
        climbed = [climb(begin, CLIMB, moments, x.dtype)]
        if self.coordinates.has_components:
            u = begin.to(x.dtype).unsqueeze(0)
            moved = self._graphs(x).run(("components", u.shape), self.coordinates.components, (x, u)).squeeze(0)
            climbed.append(climb(moved, CLIMB, moments, x.dtype))
        cost = len(climbed) * CLIMB * (self.plan.size + GRADIENT)
        (first, integral), (second, other) = climbed[0], climbed[-1]
        swap = other > integral
        modes = [Gaussian.choose(swap, second, first), Gaussian.choose(swap, first, second)]
        if not (modes[0].standardise(modes[1].mean).norm(dim=-1) > APART).any():
            modes = modes[:1]
        fits, each = [fit(mode, self.plan, moments, x.dtype) for mode in modes], self.plan.rounds_cost
        if self.coordinates.has_second_derivatives:
            fits = [self._sharpened(x, found) for found in fits]
            each += self.plan.sharp_cost
        return fits, cost + len(fits) * each

    def exact(self, trace: Trace, count: int) -> Tensor:
        """The vectors ``[count, D]`` of the latents of a trace of the model."""
        return self.coordinates.from_trace(trace, count)

    def reverse(self, x: Tensor, u: Tensor, chains: int, temperatures: Tensor) -> Tensor:
        """Log-weights ``[chains, N]`` of chains from draws of the posterior ``[N, D]`` of all data to the proposal."""
        graphs, found = Graphs("traced" if len(temperatures) > LONG else "eager"), []
        count = self._data_at_once(chains)
        for data, exact in zip(x.split(count), u.double().split(count), strict=True):
            fits = Gaussian.cat([self.refit(block)[0][0] for block in data.split(self.block)])
            begin = fits.standardise(exact).expand(chains, *exact.shape)
            found.append(self._anneal(data, fits, begin, temperatures, graphs))
        return torch.cat(found, 1)

    def _anneal(self, x: Tensor, gaussian: Gaussian, first: Tensor, temperatures: Tensor, graphs: Graphs) -> Tensor:
        return anneal(gaussian, partial(self._gradient, x, graphs), first, temperatures, x.dtype)

    def _gradient(self, x: Tensor, graphs: Graphs, u: Tensor) -> tuple[Tensor, Tensor]:
        return graphs.run(("gradient", u.shape), self.coordinates.gradient, (x, u))

    def _graphs(self, x: Tensor) -> Graphs:
        """Those of a block; one smaller than usual comes once, which does not pay for tracing."""
        return self.graphs if len(x) in (self.block, self.batch) else Graphs("eager")

    def _data_at_once(self, chains: int) -> int:
        """Of as many chains each, whose gradients take no more memory than a block that is fitted."""
        return max(1, self.block * max(self.plan.points) * (self.plan.size + GRADIENT) // (GRADIENT * chains))

    def _centre(self, x: Tensor) -> None:
        rough = replace(self.plan, points=ROUGH)
        fits = [fit(self._start(block), rough, self._moments(block), x.dtype) for block in x.split(self.block)]
        fitted = Gaussian.cat(fits)
        noise = torch.randn(START_DRAWS, *fitted.mean.shape).to(fitted.mean)
        self.coordinates.centre(x, fitted.place(noise).to(x.dtype))

    def _start(self, x: Tensor) -> Gaussian:
        def draw(x: Tensor) -> Tensor:
            return self.coordinates.guide_draws(x, START_DRAWS)

        return start(self._graphs(x).run(("start", len(x)), draw, (x,)))

    def _moments(self, x: Tensor) -> Any:
        graphs = self._graphs(x)
        return lambda u: graphs.run(("moments", u.shape), self.coordinates.moments, (x, u))

    def _sharpened(self, x: Tensor, fitted: Gaussian) -> Gaussian:
        """A fit with the Hessian itself, to sticks with skewnesses."""
        if self.plan.is_damped:
            points = max(self.plan.points) * (self.plan.size + GRADIENT) // GRADIENT
            graphs = self._graphs(x)
            fitted = skew(fitted, lambda u: self._gradient(x, graphs, u)[0], points, x.dtype)
        return sharpen(fitted, partial(self._second_moments, x, fitted.skew), x.dtype)

    def _second_moments(self, x: Tensor, skewed: Skew | None, points: Tensor) -> tuple[Tensor, ...]:
        """A part of the data at a time: a column of a Hessian takes as much memory as a gradient."""

        def moments(x: Tensor, u: Tensor, *skewed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return self.coordinates.second_moments(x, u, Skew(*skewed) if skewed else None)

        graphs, found = self._graphs(x), []
        for i in torch.arange(len(x)).split(max(1, self.block // GRADIENT)):
            part = () if skewed is None else skewed[i].to(x.dtype).parts
            found.append(graphs.run(("second moments", points[:, i].shape), moments, (x[i], points[:, i], *part)))
        return tuple(torch.cat(pieces) for pieces in zip(*found, strict=True))

    def _draw(self, x: Tensor, fits: list[Gaussian], count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draws ``[count, B, D]``, their log-weights and log p(x | u), ``[count, B]``."""
        u, log_q = student.draw_mixture(fits, count)
        u = u.to(x.dtype)
        joints, givens, graphs = [], [], self._graphs(x)
        for part in u.split(self.chunk):
            usual = part.shape[:2] == (self.chunk, self.block)
            joint, given = graphs.run(("joint", part.shape), self.coordinates.log_joint, (x, part), compiled=usual)
            joints.append(joint)
            givens.append(given)
        return u, torch.cat(joints).double() - log_q, torch.cat(givens)

    def _summary(self, log_weights: Tensor, stage: int, cost: int) -> dict[str, Any]:
        result: dict[str, Any] = summarise(log_weights)
        count = log_weights.shape[1]
        result["stage"] = torch.full((count,), stage)
        result["evaluations"] = torch.full((count,), float(cost), dtype=torch.float64)
        return result


def _flagged(rows: Tensor, fits: Gaussian, result: dict[str, Any]) -> Rows:
    flagged = is_flagged(result["ess"], result["k_hat"])
    return rows[flagged], fits[flagged]


def _batches(pieces: Iterable[Rows], size: int) -> Iterator[Rows]:
    """Pieces joined and cut to ``size`` data each, the last to what is left."""
    held: list[Rows] = []
    for piece in pieces:
        held.append(piece)
        rows, fits = torch.cat([rows for rows, _ in held]), Gaussian.cat([fits for _, fits in held])
        while len(rows) >= size:
            yield rows[:size], fits[:size]
            rows, fits = rows[size:], fits[size:]
        held = [(rows, fits)]
    if held and len(held[0][0]):
        yield held[0]
