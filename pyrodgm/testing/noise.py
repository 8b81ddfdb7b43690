"""Noise that averages given functions exactly, in place of random draws."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from pyro.distributions import Gamma, MultivariateNormal
from pyro.poutine.messenger import Messenger
from torch import Tensor

NODES = 31


@dataclass(frozen=True)
class Rule:
    """Points in the space of the noise, with weights that add up to 1.

    Attributes:
        noise: The standard normal noise of each site, ``[K]``; signs for ``r``, see :func:`gamma_points`.
        weights: ``[K]``, or None for equal weights.
    """

    noise: dict[str, Tensor]
    weights: Tensor | None = None

    @property
    def size(self) -> int:
        """The number of points K."""
        return len(next(iter(self.noise.values())))

    def average(self, values: Tensor) -> Tensor:
        """The average of values ``[K]``."""
        return values.mean() if self.weights is None else self.weights @ values


@cache
def hermite(nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of averages over a standard normal variable."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return torch.tensor(points), torch.tensor(weights / weights.sum())


def sigma_points(names: list[str]) -> Rule:
    """Points at ±√d on each of the d axes: exact for quadratic functions."""
    count = len(names) - ("r" in names)
    points = math.sqrt(count) * torch.cat([torch.eye(count), -torch.eye(count)]).double()
    return Rule(_named(names, points))


def rotated(names: list[str], direction: Tensor) -> Rule:
    """A rule that is exact for sums of a quadratic function and of one along ``direction``, ``[d]``, of high order."""
    count = len(direction)
    basis, _ = torch.linalg.qr(torch.cat([direction.unsqueeze(-1), torch.eye(count, dtype=direction.dtype)], -1))
    along, weights = hermite(NODES)
    weights = weights.clone()
    weights[NODES // 2] -= (count - 1) / 3.0  # the node at zero
    points = [along.unsqueeze(-1) * basis[:, 0]]
    for axis in basis.T[1:]:
        points.append(math.sqrt(3.0) * torch.stack([axis, -axis]))
        weights = torch.cat([weights, weights.new_full((2,), 1.0 / 6.0)])
    if "r" in names:
        weights = weights.repeat_interleave(2) / 2.0
    return Rule(_named(names, torch.cat(points)), weights)


def _named(names: list[str], points: Tensor) -> dict[str, Tensor]:
    """The columns of ``points``, in the order of the names; each row with both signs of ``r``."""
    if "r" in names:
        points = points.repeat_interleave(2, 0)
    columns = iter(points.T)
    signs = torch.tensor([1.0, -1.0]).double().repeat(len(points) // 2)
    return {name: signs if name == "r" else next(columns) for name in names}


def gamma_points(shape: Tensor, rate: Tensor, sign: Tensor) -> Tensor:
    """One of two points with the mean of a gamma variable, and with that of its logarithm."""
    mean, log_mean = shape / rate, torch.digamma(shape) - rate.log()
    return mean * (1.0 + sign * (1.0 - (2.0 * (log_mean - mean.log())).exp()).sqrt())


class FixedNoise(Messenger):
    """Gives sites inside the plate of particles the values that they have for given noise, and scales them by weights.

    Enter it outside of an estimator's run: it then meets distributions as all plates have expanded them.

    Args:
        rule: The noise and the weight of each particle.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule

    def _pyro_sample(self, msg: Any) -> None:
        frames = [f for f in msg["cond_indep_stack"] if f.name == "num_particles_vectorized"]
        if not frames:
            return
        shape = (-1, *[1] * (-1 - frames[0].dim))
        if self.rule.weights is not None:
            msg["scale"] = msg["scale"] * (self.rule.size * self.rule.weights).reshape(shape)
        fn, given = msg["fn"], self.rule.noise
        names = [name for name in (msg["name"], *(f"{msg['name']}{i}" for i in range(2))) if name in given]
        if msg["done"] or msg["is_observed"] or not names:
            return
        if fn.event_shape:
            noise = torch.stack([given[name] for name in names], -1).reshape(*shape, len(names))
            correlated = isinstance(fn, MultivariateNormal)
            step = (fn.scale_tril @ noise.unsqueeze(-1)).squeeze(-1) if correlated else fn.base_dist.scale * noise
            msg["value"], msg["done"] = fn.mean + step, True
            return
        noise = given[msg["name"]].reshape(shape)
        if isinstance(fn, Gamma):
            msg["value"] = gamma_points(fn.concentration, fn.rate, noise)
        else:
            msg["value"] = fn.loc + fn.scale * noise
        msg["done"] = True
