"""How the inner steps of a time step are weighed, from what the inner states emit."""

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyrodgm.arithmetic import kumaraswamy_log_moment, kumaraswamy_logs, wide

FLOOR = 0.01  # of the concentrations: the accuracy of the distribution is measured from there on


class Rule(Protocol):
    """A map from ``raw``, ``[*, M - 1, B, heads]``, to weights, ``[*, M, B]`` on the simplex, and its derivative.

    Attributes:
        heads: Numbers that an inner state emits.
    """

    heads: int

    def weigh(self, raw: Tensor, given: Tensor) -> Tensor:
        """Weights in float64; ``given`` is noise, or the weights themselves, ``[*, M - 1 or M, B]``."""

    def slopes(self, raw: Tensor, given: Tensor) -> Tensor:
        """What ``pull_back`` needs of each element, ``[*, M - 1, B, slopes]``, computed for all time steps at once."""

    def pull_back(self, slopes: Tensor, weights: Tensor, grad: Tensor) -> Tensor:
        """Gradient of ``raw``, ``[M - 1, B, heads]``, from that of the weights, ``[M, B]``, at one time step."""


def concentrations(raw: Tensor) -> tuple[Tensor, Tensor]:
    """The two concentrations of a fraction's Kumaraswamy distribution, each ``[*]``, from ``raw``, ``[*, 2]``."""
    concentration1, concentration0 = (softplus(raw) + FLOOR).unbind(-1)
    return concentration1, concentration0


def raw_start(start: float) -> tuple[float, float]:
    """What is emitted for a fraction with the concentrations 1 and ``start``.

    Raises:
        ValueError: ``start`` is below 0.1.
    """
    if not start >= 0.1:
        raise ValueError(f"start: expected at least 0.1, got {start}")
    raw = [value + math.log(-math.expm1(-value)) for value in (1.0 - FLOOR, start - FLOOR)]
    return raw[0], raw[1]


def log_fractions(raw: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Log v and log(1 - v), ``[*]`` in float64, of fractions, from ``raw``, ``[*, 2]``, and exponential noise."""
    return kumaraswamy_logs(*concentrations(wide(raw)), noise)


def mean_fractions(raw: Tensor) -> Tensor:
    """Means of the fractions, ``[*]`` in float64, from ``raw``, ``[*, 2]``."""
    return kumaraswamy_log_moment(*concentrations(wide(raw)), 1).exp()


class Sticks:
    """Stick-breaking by Kumaraswamy fractions; ``given`` is their exponential noise, ``[*, M - 1, B]``."""

    heads = 2

    def weigh(self, raw: Tensor, given: Tensor) -> Tensor:
        # Runs at every time step, and on so few numbers that each operation counts: weights, unlike their logarithms
        # and slopes, need no care for what underflows.
        a, b = concentrations(wide(raw))
        log_v = torch.expm1(-given / b).neg_().log_().div_(a)
        rest = torch.expm1(log_v).neg_().cumprod(-2)
        v = log_v.exp_()
        return torch.cat([v[..., :1, :], v[..., 1:, :] * rest[..., :-1, :], rest[..., -1:, :]], -2)

    def slopes(self, raw: Tensor, given: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = raw.detach().requires_grad_()
            logs = log_fractions(leaf, given)
            slopes = [torch.autograd.grad(log.sum(), leaf, retain_graph=True)[0] for log in logs]
        return wide(torch.cat(slopes, -1))

    def pull_back(self, slopes: Tensor, weights: Tensor, grad: Tensor) -> Tensor:
        by_log = grad * weights
        later = by_log[1:].flip(0).cumsum(0).flip(0)
        return by_log[:-1].unsqueeze(-1) * slopes[..., :2] + later.unsqueeze(-1) * slopes[..., 2:]


class Halting:
    """Graves's halting: each step takes what it emits, until no more than ``given``, ``[*, 1, 1]``, would be left."""

    heads = 1

    def weigh(self, raw: Tensor, given: Tensor) -> Tensor:
        halt = wide(raw).sigmoid().squeeze(-1)
        total = halt.cumsum(-2)
        before = total - halt
        # The step at which the sum comes to 1 - epsilon takes the rest; what would come after it takes nothing.
        rest = (1.0 - before).clamp(min=0.0)
        going = total < 1.0 - given
        reached = torch.cat([torch.ones_like(going[..., :1, :]), going[..., :-1, :]], -2)
        first = torch.where(going, halt, rest) * reached
        return torch.cat([first, torch.where(going[..., -1:, :], 1.0 - total[..., -1:, :], 0.0)], -2)

    def slopes(self, raw: Tensor, given: Tensor) -> Tensor:
        halt = wide(raw).sigmoid()
        going = halt.cumsum(-3) < 1.0 - given.unsqueeze(-1)
        return halt * (1.0 - halt) * going

    def pull_back(self, slopes: Tensor, weights: Tensor, grad: Tensor) -> Tensor:
        going = (slopes != 0.0).squeeze(-1)
        last = torch.cat([~going, torch.ones_like(going[:1])]) & torch.cat([torch.ones_like(going[:1]), going])
        rest = (grad * last).sum(0)
        return (grad[:-1] - rest).unsqueeze(-1) * slopes


class Given:
    """Weights as they are given, ``[*, M, B]``; the inner states emit all the same."""

    heads = 2

    def weigh(self, raw: Tensor, given: Tensor) -> Tensor:
        return wide(given)

    def slopes(self, raw: Tensor, given: Tensor) -> Tensor:
        return wide(raw[..., :0])

    def pull_back(self, slopes: Tensor, weights: Tensor, grad: Tensor) -> Tensor:
        return slopes.new_zeros(*slopes.shape[:-1], self.heads)


RULES: dict[str, Rule] = {"sticks": Sticks(), "halting": Halting(), "given": Given()}
