"""Importance samples from refined proposals, with further stages for the data that need them."""

from typing import Any

import torch
from torch import Tensor

from pyrodgm.infer.evaluation.diagnostics import is_flagged, summarise
from pyrodgm.infer.evaluation.graphs import Graphs
from pyrodgm.infer.evaluation.memory import even, growth
from pyrodgm.infer.evaluation.refined import student
from pyrodgm.infer.evaluation.refined.annealing import LEAPFROGS, anneal
from pyrodgm.infer.evaluation.refined.coordinates import Coordinates
from pyrodgm.infer.evaluation.refined.gauss_newton import SIZES, START_DRAWS, Gaussian, Plan, fit, start
from pyrodgm.infer.tracing.contexts import fork_rng

MORE = 3  # times the draws of the first stage, for data that it flags
CHAINS, TEMPERATURES = 64, 16  # of the last stage
GRADIENT = 3  # decoder evaluations that a value with its gradient costs
REFINED, MORE_DRAWS, ANNEALED = 1, 2, 3  # stages; 0 is the guide's own draws


class RefinedSampler:
    """Fits a proposal for each datum, draws afresh and weighs, a block of data at a time, within a memory bound.

    Data whose weights cannot be trusted get more draws of the same proposal, and those still untrusted are annealed
    from it, where the budget is large enough: not after a fit of fewer rounds than usual, and no annealing that would
    take more than twice the budget. No draw that a fit has seen is weighed.

    Args:
        coordinates: Of the pair.
        x: One datum, ``[1, *event]``.
        count: Data in all.
        plan: How the evaluations of a datum are spent.
        max_bytes: Bound on the memory.
        mode: How the programs run.
    """

    def __init__(self, coordinates: Coordinates, x: Tensor, count: int, plan: Plan, max_bytes: int, mode: str) -> None:
        self.coordinates, self.plan, self.num_samples, self.graphs = coordinates, plan, plan.draws, Graphs(mode)
        size = coordinates.size

        with fork_rng(x.device):
            draw_bytes = growth(lambda n: coordinates.log_joint(x, x.new_zeros(n, 1, size)))
        fit_bytes = plan.points * (size + GRADIENT) * draw_bytes  # a tangent takes as much as a value
        held = 5 * 8 * size * plan.draws  # of all draws of a datum
        self.block = even(count, int(max_bytes / 2 / max(fit_bytes, held)))
        self.chunk = even(plan.draws, int(max_bytes / 2 / (draw_bytes * self.block)))
        self.bytes = (max_bytes, draw_bytes)

    def weigh(self, x: Tensor, keep: bool) -> dict[str, Any]:
        """Log-likelihood, effective sample size, k-hat and stage of a block ``[B, *event]``, on the CPU.

        With ``keep`` all data stay at the first stage, so that each has as many draws.
        """
        gaussian = self.fit(x)
        u, log_weights, given = self._draw(x, gaussian, self.plan.draws, self.chunk)
        result: dict[str, Any] = summarise(log_weights)
        result["stage"] = torch.full((len(x),), REFINED)
        result["evaluations"] = torch.full((len(x),), float(self._fit_cost + self.plan.draws), dtype=torch.float64)
        if keep:
            result["log_weights"], result["pointwise"] = log_weights.cpu(), given.cpu()
            values = [self.coordinates.values(x, part) for part in u.split(self.chunk)]
            result["draws"] = {name: torch.cat([part[name] for part in values]).cpu() for name in values[0]}
            return result
        if self.plan.rounds < SIZES[0][0]:  # a quick look
            return result
        flagged = is_flagged(result["ess"], result["k_hat"]).nonzero().squeeze(-1)
        for row in flagged.tolist():  # few data, one at a time: their graphs have one shape
            one, own = x[row : row + 1], gaussian.select(torch.tensor([row], device=x.device))
            further = self._more(one, own, log_weights[:, row : row + 1])
            for key, value in further.items():
                result[key][row] = value + result[key][row] if key == "evaluations" else value
        return result

    def fit(self, x: Tensor) -> Gaussian:
        """The Gaussians of a block."""

        def draw(x: Tensor) -> Tensor:
            return self.coordinates.guide_draws(x, START_DRAWS)

        def moments(u: Tensor) -> tuple[Tensor, Tensor]:
            return self.graphs.run(("moments", u.shape), self.coordinates.moments, (x, u))

        return fit(start(self.graphs.run(("start", len(x)), draw, (x,))), self.plan, moments, x.dtype)

    def anneal(self, x: Tensor, gaussian: Gaussian, first: Tensor, temperatures: Tensor) -> Tensor:
        """Log-weights of chains that start at ``first``, standardised; see :func:`anneal`."""

        def gradient(u: Tensor) -> tuple[Tensor, Tensor]:
            return self.graphs.run(("gradient", u.shape), self.coordinates.gradient, (x, u))

        return anneal(gaussian, gradient, first, temperatures, x.dtype)

    @property
    def _fit_cost(self) -> int:
        return self.plan.rounds * self.plan.points * (self.coordinates.size + GRADIENT)

    def _draw(self, x: Tensor, gaussian: Gaussian, count: int, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draws ``[count, B, D]``, their log-weights and log p(x | u), ``[count, B]``."""
        u, log_q = student.draw(gaussian, count)
        u = u.to(x.dtype)
        joints, givens = [], []
        for part in u.split(chunk):
            key = ("joint", part.shape)
            usual = part.shape[:2] == (self.chunk, self.block)
            joint, given = self.graphs.run(key, self.coordinates.log_joint, (x, part), compiled=usual)
            joints.append(joint)
            givens.append(given)
        return u, torch.cat(joints).double() - log_q, torch.cat(givens)

    def _more(self, x: Tensor, gaussian: Gaussian, log_weights: Tensor) -> dict[str, Any]:
        """The further stages of one datum."""
        max_bytes, draw_bytes = self.bytes
        count = MORE * self.plan.draws
        chunk = even(count, int(max_bytes / 2 / draw_bytes))
        further = self._draw(x, gaussian, count, chunk)[1]
        result: dict[str, Any] = {
            **summarise(torch.cat([log_weights, further])),
            "stage": MORE_DRAWS,
            "evaluations": float(count),
        }
        cost = CHAINS * (1 + LEAPFROGS * (TEMPERATURES - 1)) * GRADIENT
        if not bool(is_flagged(result["ess"], result["k_hat"])) or cost > 2 * (self._fit_cost + self.plan.draws):
            return result
        standard = gaussian.standardise(student.draw(gaussian, CHAINS)[0])
        betas = torch.linspace(0.0, 1.0, TEMPERATURES + 1, dtype=torch.float64)
        annealed = summarise(self.anneal(x, gaussian, standard, betas))
        return {**annealed, "stage": ANNEALED, "evaluations": float(count + cost)}
