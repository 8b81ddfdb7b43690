"""Annealed importance sampling over binary latents, between the guide and the posterior."""

import math
from functools import partial
from typing import Any

import pyro.poutine as poutine
import torch
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.infer.estimators.reading import counted
from pyrodgm.infer.estimators.sites import Trace, traces
from pyrodgm.infer.evaluation.diagnostics import summarise
from pyrodgm.infer.evaluation.graphs import Graphs, choose_mode
from pyrodgm.infer.evaluation.memory import even, growth
from pyrodgm.infer.evaluation.refined.programs import Placed, particles
from pyrodgm.infer.evaluation.refined.sites import UnsupportedError, check_site, require_fixed
from pyrodgm.infer.tracing.contexts import fork_rng

CHAINS = 48
COST = 3  # evaluations of the likelihood's network for a value with its gradient
LEAST_STEPS = 5
REACH = (0.15, 0.6)  # range of the step size, which is drawn anew for each transition
ANNEALED = 3  # number of the stage

State = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # bits, log p(x, z), its gradient, log q(z | x), its gradient


class AnnealedBits:
    r"""Annealed importance sampling of binary latents: chains start at draws of the guide and end at the posterior.

    .. math:: \log w = \sum_t (\beta_{t+1} - \beta_t)\, [\log p(x, z_t) - \log q(z_t \mid x)], \qquad
        z_{t+1} \sim T_{\beta_{t+1}}(\cdot \mid z_t)

    A transition leaves :math:`\gamma \propto q^{1-\beta} p^\beta` invariant. It proposes to flip each bit
    independently, with log-odds :math:`\tfrac12 (1 - 2 z_i)\, \partial_i \log \gamma(z) - 1 / (2 \alpha)`, in which the
    gradient through decoder, prior and guide approximates the change of the log-density. The proposal is accepted or
    rejected by the Metropolis-Hastings rule.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``.
        x: One datum, ``[1, *event]``.
        count: Number of data in all.
        budget: Evaluations of the likelihood's network per datum; a step of a chain costs three.
        max_bytes: Bound on the memory.
        mode: How the programs run, as for :class:`RefinedSampler`.

    Raises:
        UnsupportedError: For latents that are not binary or have no gradients, or too small a budget, with the reason.

    Source: Neal (2001), Statistics and Computing 11, 125; Zhang, Liu and Liu (2022), arXiv 2206.09914, for the
    transition.
    """

    def __init__(self, pair: Any, x: Tensor, count: int, budget: int, max_bytes: int, mode: str) -> None:
        self.pair, self.num_samples = pair, CHAINS
        self.steps = budget // (COST * CHAINS)
        self.graphs = Graphs("eager")
        with fork_rng(x.device):
            guide, model = traces(pair, x)
            self.names = [site["name"] for site in counted(model) if not site["is_observed"]]
            if not self.names or {site["name"] for site in counted(guide)} != set(self.names):
                raise UnsupportedError("its two programs must draw the same latents, at least one")
            for site in counted(model):
                check_site(site, constraints.boolean)
            if self.steps < LEAST_STEPS:
                raise UnsupportedError(f"num_samples must be at least {COST * CHAINS * LEAST_STEPS}, got {budget}")
            try:
                used = growth(lambda n: self._evaluate(x, self._draw(x, n)))
                bits = self._draw(x, 2)
                require_fixed(lambda: self._evaluate(x, bits)[0], x.device)
            except (NotImplementedError, RuntimeError) as error:
                raise UnsupportedError(f"it has no gradients in its bits: {str(error).splitlines()[0]}") from error
        self.block = even(count, int(max_bytes / (used * CHAINS)))
        self.graphs = Graphs(choose_mode(mode, count, self.block), pair)

    def weigh(self, x: Tensor, keep: bool) -> dict[str, Any]:
        """Log-likelihood, effective sample size and k-hat of a block ``[B, *event]``, on the CPU."""
        del keep
        betas = torch.linspace(0.0, 1.0, self.steps + 1, dtype=torch.float64)
        begin = self._draw(x, CHAINS)
        log_w = self._anneal(x, begin, betas)
        result: dict[str, Any] = summarise(log_w, lambda: (begin != begin[:1]).any(0).any(-1))
        result["stage"] = torch.full((len(x),), ANNEALED)
        result["evaluations"] = torch.full((len(x),), float(self.steps * CHAINS * COST), dtype=torch.float64)
        return result

    def exact(self, trace: Trace, count: int) -> Tensor:
        """The bits of a model trace, ``[count, D]``."""
        parts = [trace.nodes[name] for name in self.names]
        return torch.cat([s["value"].expand(count, *s["fn"].event_shape).reshape(count, -1) for s in parts], -1)

    def reverse(self, x: Tensor, z: Tensor, chains: int, temperatures: Tensor) -> Tensor:
        """Log-weights ``[chains, N]`` of chains annealed from posterior draws ``z`` ``[N, D]`` to the guide."""
        block = max(1, self.block * CHAINS // chains)
        parts = zip(x.split(block), z.split(block), strict=True)
        return torch.cat([self._anneal(a, b.expand(chains, *b.shape), temperatures) for a, b in parts], 1)

    def _anneal(self, x: Tensor, z: Tensor, temperatures: Tensor) -> Tensor:
        state, log_w = self._state(x, z), torch.zeros(z.shape[:2], dtype=torch.float64, device=x.device)
        steps = list(zip(temperatures[:-1].tolist(), temperatures[1:].tolist(), strict=True))
        for i, (before, beta) in enumerate(steps):
            log_w = log_w + (beta - before) * (state[1] - state[3])
            if i + 1 < len(steps):
                state = self._transition(x, state, beta)
        return log_w

    def _transition(self, x: Tensor, now: State, beta: float) -> State:
        offset = -0.5 / float(torch.empty(()).uniform_(*REACH))

        def level(state: State) -> Tensor:
            return beta * state[1] + (1.0 - beta) * state[3]

        def log_odds(state: State) -> Tensor:
            return (0.5 - state[0]) * (beta * state[2] + (1.0 - beta) * state[4]) + offset

        odds = log_odds(now)
        flips = torch.rand_like(odds) < odds.sigmoid()
        moved = self._state(x, torch.where(flips, 1.0 - now[0], now[0]))
        back = log_odds(moved)
        gain = level(moved) - level(now) + _log_choice(back, flips) - _log_choice(odds, flips)
        accept = torch.rand_like(gain).log() < gain.nan_to_num(nan=-math.inf)
        chosen = tuple(_where(accept, *pair) for pair in zip(moved, now, strict=True))
        return chosen[0], chosen[1], chosen[2], chosen[3], chosen[4]

    def _state(self, x: Tensor, z: Tensor) -> State:
        found = self.graphs.run(("evaluate", z.shape), self._evaluate, (x, z))
        log_p, of_p, log_q, of_q = (part.double() for part in found)
        return z, log_p, of_p, log_q, of_q

    def _draw(self, x: Tensor, count: int) -> Tensor:
        """Draws of the guide's bits, ``[count, B, D]``."""

        def draw(x: Tensor) -> Tensor:
            trace = poutine.trace(particles(self.pair.guide, count)).get_trace(x)
            sites = [trace.nodes[name] for name in self.names]
            self.shapes = [site["fn"].event_shape for site in sites]
            values = [site["value"].expand(count, len(x), *site["fn"].event_shape) for site in sites]
            return torch.cat([value.reshape(count, len(x), -1) for value in values], -1)

        return self.graphs.run(("draw", count, len(x)), draw, (x,))

    def _evaluate(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log p(x, z) and log q(z | x), ``[chains, B]``, each with its gradient ``[chains, B, D]``."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            parts = z.split([shape.numel() for shape in self.shapes], -1)
            shaped = [part.reshape(*z.shape[:2], *shape) for part, shape in zip(parts, self.shapes, strict=True)]
            values: Any = {name: partial(_given, value) for name, value in zip(self.names, shaped, strict=True)}
            found = []
            for program in (self.pair.model, self.pair.guide):
                trace: Trace = poutine.trace(Placed(values)(particles(program, len(z)))).get_trace(x)
                total: Any = sum(site["fn"].log_prob(site["value"]) for site in counted(trace))
                total = total.expand(z.shape[:2])
                found += [total.detach(), torch.autograd.grad(total.sum(), z)[0]]
        return found[0], found[1], found[2], found[3]


def _given(value: Tensor, fn: Any) -> Tensor:
    del fn
    return value


def _log_choice(log_odds: Tensor, flips: Tensor) -> Tensor:
    """Log-probability of flipping exactly the bits in ``flips``, ``[chains, B]``."""
    return torch.nn.functional.logsigmoid(torch.where(flips, log_odds, -log_odds)).sum(-1)


def _where(accept: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(accept.reshape(*accept.shape, *[1] * (new.dim() - 2)), new, old)
