"""The temperature of samples whose sampler cannot say it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import validated
from pyrodgm.boltzmann.machine import Machine, require_bits, require_machine

LARGEST = 1e6  # an estimate beyond is infinite


class InverseTemperature(NamedTuple):
    """An estimated inverse temperature.

    Attributes:
        value: 1 for samples of the machine itself; infinite where every unit of every sample is as its field has it.
        standard_error: From the spread over the samples, as if they were independent.
    """

    value: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ± {self.standard_error:.2g}"


@torch.no_grad()
def estimate_inverse_temperature(machine: Machine, states: Tensor) -> InverseTemperature:
    r"""The inverse temperature at which samples of a machine are likeliest, unit by unit given the others.

    .. math:: \hat\beta = \operatorname{argmax}_\beta
              \sum_n \sum_i \log \sigma\bigl(\beta\, (2 z_{ni} - 1) f_i(z_n)\bigr), \qquad
              f_i = \log \frac{p(z_i = 1 \mid z_{-i})}{p(z_i = 0 \mid z_{-i})}

    The error is that of the sandwich. A machine without couplings and biases has every temperature: 1 with an infinite
    error.

    Args:
        machine: One machine.
        states: ``[N, n]`` in {0, 1}; at least 2.

    Raises:
        ValueError: If the machine has batch dimensions, or there are fewer than 2 states.

    Source: Besag (1975), The Statistician 24, 179; Bhattacharya and Mukherjee (2018), Bernoulli 24, 493.

    Example:
        >>> from pyrodgm.boltzmann import Graph, GraphMachine
        >>> machine = GraphMachine(Graph(2, [(0, 1)]), torch.tensor([1.0]), torch.tensor([-1.0, 0.5]))
        >>> estimate_inverse_temperature(machine, torch.tensor([[0.0, 1.0], [0.0, 1.0]])).value
        inf
    """
    aligned = _aligned(machine, states)

    def slope(beta: float) -> float:
        return float((aligned * (-beta * aligned).sigmoid()).sum())

    if not aligned.any():
        return InverseTemperature(1.0, math.inf)
    if (aligned >= 0.0).all() or (aligned <= 0.0).all():
        return InverseTemperature(math.inf if aligned.sum() > 0.0 else -math.inf, 0.0)
    low, high = -1.0, 1.0
    while slope(high) > 0.0 and high < LARGEST:
        low, high = high, 2.0 * high
    while slope(low) < 0.0 and low > -LARGEST:
        low, high = 2.0 * low, low
    if high >= LARGEST or low <= -LARGEST:
        return InverseTemperature(math.copysign(math.inf, high), 0.0)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) > 0.0 else (low, middle)
    beta = 0.5 * (low + high)
    off = (-beta * aligned).sigmoid()
    scores = (aligned * off).sum(-1)
    curvature = (aligned.square() * off * (1.0 - off)).sum(-1).mean()
    return InverseTemperature(beta, float(scores.std() / curvature) / math.sqrt(len(states)))


@torch.no_grad()
def score_inverse_temperature(machine: Machine, states: Tensor, beta: float) -> float:
    r"""By how many standard errors samples look colder than an inverse temperature, or hotter if negative.

    The statistic of the score test: the mean over the samples of the slope of the log pseudo-likelihood at beta, in
    units of its standard error. It holds where the estimate itself is infinite.

    Args:
        machine: One machine.
        states: ``[N, n]`` in {0, 1}; at least 2.
        beta: The inverse temperature to test.
    """
    aligned = _aligned(machine, states)
    scores = (aligned * (-beta * aligned).sigmoid()).sum(-1)
    mean, error = float(scores.mean()), float(scores.std()) / math.sqrt(len(scores))
    return mean / error if error > 0.0 else math.copysign(math.inf, mean) if mean else 0.0


def _aligned(machine: Machine, states: Tensor) -> Tensor:
    """Fields in the direction of the units, ``[N, n]``: how much each sample agrees with the machine."""
    require_machine(machine)
    require_bits(machine)
    machine.check_single()
    validated(states=states)
    if states.dim() != 2 or len(states) < 2 or states.shape[1] != machine.num_units:
        raise ValueError(f"states must have shape [N, {machine.num_units}] with N at least 2, got {list(states.shape)}")
    return (2.0 * states.double() - 1.0) * machine.fields(states).double()
