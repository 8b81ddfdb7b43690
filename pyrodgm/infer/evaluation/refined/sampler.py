"""Importance sampling with refined proposals, with further stages for flagged data."""

import math
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
from pyrodgm.infer.evaluation.refined.annealing import LEAPFROGS, anneal
from pyrodgm.infer.evaluation.refined.coordinates import Coordinates
from pyrodgm.infer.evaluation.refined.fitting import Fitted, Fitting
from pyrodgm.infer.evaluation.refined.gauss_newton import GRADIENT, START_DRAWS, Plan
from pyrodgm.infer.evaluation.refined.gaussian import Gaussian
from pyrodgm.infer.evaluation.refined.student import Mixture
from pyrodgm.infer.tracing.contexts import fork_rng

CHAINS, TEMPERATURES = 64, (24, 64)  # of the annealing; the second number of temperatures for data still flagged
GUIDE, REFINED, REFITTED, ANNEALED = 0, 1, 2, 3  # stages
ROUGH = (2, 2, 2, 2)  # points per round of the rough fits that determine the centring
CENTRING_ROUNDS = 2  # number of times that these fits are made
DOUBT = 2  # the second fit needs so many times the usual effective sample size: a narrow pass may be chance
OF_PRIOR = 10  # one in so many draws is from the prior where the posterior is near it
FEW = 2  # up to so many blocks of flagged data, tracing the programs of the second fit does not pay
LONG = 100  # number of temperatures above which tracing pays for a single annealing

Take = Callable[[Tensor], tuple[Tensor, Tensor]]  # from indices to data and modes
Put = Callable[[Tensor, dict[str, Any]], None]  # receives a stage's results for some indices
Rows = tuple[Tensor, Mixture]  # indices of data, and their fitted proposals


class RefinedSampler:
    """Fits a proposal to each datum's posterior and computes importance weights of fresh draws, block by block.

    The proposal is a mixture where draws of guide or prior lead to further modes. Flagged data get a second fit, which
    searches for modes first (from the guide's mean and, where a prior is a mixture, from its most responsible
    component), and as many fresh draws again. Data that are still flagged are annealed from there. Draws used by a fit
    or a diagnostic are never weighed.

    Args:
        coordinates: Coordinates of the pair's latents.
        x: Some data, ``[N, *event]``, evenly spaced over all; rough fits to them determine the centring of latents that
            depend on others.
        count: Number of data in all.
        plan: Allocation of the evaluations per datum.
        max_bytes: Bound on the memory.
        mode: How the programs run; ``"auto"`` traces if there are enough blocks to pay for it.

    Attributes:
        block: Number of data fitted at once.
        batch: Number of data annealed at once.
        chunk: Number of draws per datum of a block weighed at once.
    """

    def __init__(self, coordinates: Coordinates, x: Tensor, count: int, plan: Plan, max_bytes: int, mode: str) -> None:
        self.coordinates, self.plan, self.num_samples = coordinates, plan, plan.draws
        one = x[:1]
        with fork_rng(x.device):
            draw_bytes = growth(lambda n: coordinates.log_joint(one, x.new_zeros(n, 1, plan.size)))
        fit_bytes = max(plan.points) * (plan.size + GRADIENT) * draw_bytes  # a tangent takes as much as a value
        held = 5 * 8 * plan.size * plan.draws  # bytes for all draws of a datum
        self.block = even(count, int(max_bytes / 2 / max(fit_bytes, held)))
        self.batch = self._data_at_once(CHAINS)
        self.chunk = even(plan.draws, int(max_bytes / 2 / (draw_bytes * self.block)))
        self.fitting = Fitting(coordinates, plan, self.block, self.chunk)
        with fork_rng(x.device), torch.no_grad():
            torch.manual_seed(0)  # so that the coordinates do not depend on the seed
            for _ in range(CENTRING_ROUNDS * coordinates.is_hierarchical):
                self._centre(x)
        self.fitting.graphs = Graphs(choose_mode(mode, count, self.block), coordinates.pair)
        self.annealing = Graphs(self.fitting.graphs.mode, coordinates.pair)

    def weigh(self, x: Tensor, keep: bool) -> dict[str, Any]:
        """Log-likelihood, effective sample size, k-hat and stage of a block ``[B, *event]``, on the CPU.

        Also ``modes``: points ``[B, modes, D]`` near the modes of data for which further modes were found, else NaN.
        """
        fitted = self.fitting.first(x)
        u, log_weights, given, is_bounded = self._draw(x, fitted)
        result = self._summary(log_weights, REFINED, fitted.cost + self.plan.draws)
        _bound(result, given, is_bounded)
        result["modes"] = fitted.modes.movedim(1, 0).cpu()
        if keep:
            result["log_weights"], result["pointwise"] = log_weights.cpu(), given.cpu()
            values = [self.coordinates.values(x, part) for part in u.split(self.chunk)]
            result["draws"] = {name: torch.cat([part[name] for part in values]).cpu() for name in values[0]}
        return result

    def weigh_again(self, rows: Tensor, take: Take, put: Put) -> None:
        """Run the later stages for data that are flagged after :meth:`weigh`.

        Args:
            rows: Indices of the flagged data.
            take: Returns the data at some indices, and their modes as :meth:`weigh` returns them.
            put: Receives indices and a stage's results for them, as :meth:`weigh` returns them; ``evaluations`` counts
                that stage only.
        """
        self.fitting.graphs.makes_more = len(rows) > FEW * self.block
        still: Iterable[Rows] = self._refitted(rows, take, put)
        for temperatures in TEMPERATURES:
            still = self._annealed(still, temperatures, take, put)
        for _ in still:  # drives the generators: each stage runs as soon as the one before has yielded a batch
            pass

    def _refitted(self, rows: Tensor, take: Take, put: Put) -> Iterator[Rows]:
        """Fit again; yields the data that stay flagged or nearly so."""
        for block in rows.split(self.block):
            count = len(block)
            filled = self.block if 2 * count > self.block else count  # pad to a whole block to reuse its graphs
            x, modes = take(block[torch.arange(filled) % count])
            fitted = self.fitting.again(x, modes.movedim(1, 0))
            _, log_weights, given, is_bounded = self._draw(x, fitted)
            result = self._summary(log_weights[:, :count], REFITTED, fitted.cost[:count] + self.plan.draws)
            _bound(result, given[:, :count], is_bounded[:count])
            put(block, result)
            yield _flagged(block, fitted.proposal[:count], result, DOUBT)

    def _annealed(self, fitted: Iterable[Rows], temperatures: int, take: Take, put: Put) -> Iterator[Rows]:
        """Anneal; yields the data that stay flagged."""
        betas = torch.linspace(0.0, 1.0, temperatures + 1, dtype=torch.float64)
        cost = CHAINS * (1 + LEAPFROGS * (temperatures - 1)) * GRADIENT
        for rows, proposal in _batches(fitted, self.batch):
            x, begin = take(rows)[0], proposal.draw(CHAINS)[0]
            log_weights = self._anneal(x, proposal, begin, betas, self.annealing)
            result = self._summary(log_weights, ANNEALED, cost)
            put(rows, result)
            yield _flagged(rows, proposal, result)

    def exact(self, trace: Trace, count: int) -> Tensor:
        """The latents of a model trace in these coordinates, ``[count, D]``."""
        return self.coordinates.from_trace(trace, count)

    def reverse(self, x: Tensor, u: Tensor, chains: int, temperatures: Tensor) -> Tensor:
        """Log-weights ``[chains, N]`` of chains annealed from posterior draws ``u`` ``[N, D]`` to the proposal."""
        graphs, found = Graphs("traced" if len(temperatures) > LONG else "eager", self.coordinates.pair), []
        count = self._data_at_once(chains)
        none = u.new_full((self.plan.modes, self.block, self.plan.size), math.nan)
        for data, exact in zip(x.split(count), u.double().split(count), strict=True):
            parts = [self.fitting.again(block, none[:, : len(block)]).proposal for block in data.split(self.block)]
            found.append(
                self._anneal(data, Mixture.cat(parts), exact.expand(chains, *exact.shape), temperatures, graphs)
            )
        return torch.cat(found, 1)

    def _anneal(self, x: Tensor, proposal: Mixture, first: Tensor, temperatures: Tensor, graphs: Graphs) -> Tensor:
        return anneal(proposal, partial(self.fitting.gradient, x, graphs), first, temperatures, x.dtype)

    def _data_at_once(self, chains: int) -> int:
        """Number of data whose chains' gradients take no more memory than the fit of a block."""
        return max(1, self.block * max(self.plan.points) * (self.plan.size + GRADIENT) // (GRADIENT * chains))

    def _centre(self, x: Tensor) -> None:
        rough = replace(self.plan, points=ROUGH)
        fitted = Gaussian.cat([self.fitting.rough(block, rough) for block in x.split(self.block)])
        noise = torch.randn(START_DRAWS, *fitted.mean.shape).to(fitted.mean)
        self.coordinates.centre(x, fitted.place(noise).to(x.dtype))

    def _draw(self, x: Tensor, fitted: Fitted) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draws ``[count, B, D]``, their log-weights and log p(x | u), both ``[count, B]``, and a mask ``[B]``.

        The mask has the data whose posterior is near the prior: a tenth of their draws are from the prior, so that no
        weight exceeds 10 p(x | u).
        """
        u, log_q = fitted.proposal.draw(self.plan.draws)
        is_near = fitted.is_near_prior
        if is_near.any():
            every = torch.arange(0, len(u), OF_PRIOR, device=u.device)
            prior = self.fitting.prior_draws(x, len(every)).double()
            is_near = is_near & prior.isfinite().all(-1).all(0)
            u[every] = torch.where(is_near.unsqueeze(-1), prior, u[every])
            share = len(every) / len(u)
        u = u.to(x.dtype)
        joint, given = self.fitting.joint(x, u)
        if is_near.any():
            parts = fitted.proposal.log_density(u.double()), joint.double() - given.double()
            mixed = torch.logaddexp(parts[0] + math.log1p(-share), parts[1] + math.log(share))
            log_q = torch.where(is_near, mixed, log_q)
        return u, joint.double() - log_q, given, is_near

    def _summary(self, log_weights: Tensor, stage: int, cost: Tensor | int) -> dict[str, Any]:
        result: dict[str, Any] = summarise(log_weights)
        count = log_weights.shape[1]
        result["stage"] = torch.full((count,), stage)
        result["evaluations"] = torch.as_tensor(cost, dtype=torch.float64, device="cpu").expand(count).clone()
        return result


def _bound(result: dict[str, Any], given: Tensor, is_bounded: Tensor) -> None:
    """Replace k-hat by that of p(x | u) if smaller, where no weight exceeds 10 p(x | u) and so has no heavier tail.

    Data with an effective sample size below a tenth of the draws are left out, as a later stage is worth its cost.
    """
    rows = is_bounded.cpu() & (OF_PRIOR * result["ess"] > len(given))
    if rows.any():
        of_given = summarise(given[:, rows.to(given.device)])["k_hat"]
        result["k_hat"][rows] = torch.minimum(result["k_hat"][rows], of_given)


def _flagged(rows: Tensor, proposal: Mixture, result: dict[str, Any], strict: float = 1.0) -> Rows:
    flagged = is_flagged(result["ess"] / strict, result["k_hat"])
    return rows[flagged], proposal[flagged]


def _batches(pieces: Iterable[Rows], size: int) -> Iterator[Rows]:
    """Regroup pieces into batches of ``size`` data; the last batch may be smaller."""
    held: list[Rows] = []
    for piece in pieces:
        held.append(piece)
        rows, proposal = torch.cat([rows for rows, _ in held]), Mixture.cat([proposal for _, proposal in held])
        while len(rows) >= size:
            yield rows[:size], proposal[:size]
            rows, proposal = rows[size:], proposal[size:]
        held = [(rows, proposal)]
    if held and len(held[0][0]):
        yield held[0]
