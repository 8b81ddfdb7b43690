"""Log-partition function by annealed importance sampling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.boltzmann.energy import check_one_machine
from pyrodgm.boltzmann.layers import TWO_BITS, Kinds, check_kinds
from pyrodgm.boltzmann.looked_up import field_of_states

if TYPE_CHECKING:
    from pyrodgm.boltzmann.machine import Machine


@dataclass(frozen=True)
class LogPartition:
    """An estimate of a log-partition function and how far to trust it.

    Attributes:
        value: Estimated log Z in nats, ``[]``, float64. Its expectation is at most log Z.
        standard_error: Standard error of ``value`` from the spread of the weights, ``[]``; 0 for an exact value. It can
            be trusted while ``ess`` is many.
        ess: Effective number of independent chains, ``[]``, between 1 and their number; infinite for an exact value.
    """

    value: Tensor
    standard_error: Tensor
    ess: Tensor

    def __str__(self) -> str:
        return f"log Z = {self.value:.3f} ± {self.standard_error:.3f} nats (effective chains: {self.ess:.0f})"


@torch.no_grad()
def annealed_importance_sampling(
    weights: Tensor,
    left_bias: Tensor,
    right_bias: Tensor,
    num_temperatures: int = 1000,
    num_chains: int = 1024,
    base: tuple[Tensor, Tensor] | None = None,
    units: Kinds = TWO_BITS,
) -> LogPartition:
    r"""Estimate the log-partition function by annealing chains from independent units to the machine.

    .. math:: \log Z \approx \log Z_0 + \log \frac 1N \sum_n \prod_{k=1}^K
              \frac{p^*_{\beta_k}(s_n^{(k-1)})}{p^*_{\beta_{k-1}}(s_n^{(k-1)})}, \qquad \beta_k = k / K

    Between the two, weights and biases are interpolated linearly. The states s are those of the smaller side; the
    larger is summed out of each weight.

    Args:
        weights: ``[L, R]``, real.
        left_bias: ``[L]``, real.
        right_bias: ``[R]``, real.
        num_temperatures: Number of steps K from the base to the machine, a sweep each.
        num_chains: Number of independent chains N, at least 2.
        base: Left and right biases, ``[L]`` and ``[R]``, of the independent units to start from; fair coins by default.
            The logits of the mean activities of the machine are a good choice where these are far from a half.
        units: The kinds of the left and of the right units; of bits by default.

    Raises:
        ValueError: If a number is too small or the shapes do not fit.
        FloatingPointError: If the energies are not finite.

    Source: Neal (2001), Statistics and Computing 11, 125; Salakhutdinov and Murray (2008), ICML.

    Example:
        >>> estimate = annealed_importance_sampling(torch.zeros(4, 3), torch.zeros(4), torch.zeros(3), 10, 16)
        >>> print(estimate)  # 7 log 2
        log Z = 4.852 ± 0.000 nats (effective chains: 16)
    """
    check_one_machine(weights, left_bias, right_bias)
    num_temperatures = whole_number("num_temperatures", num_temperatures)
    num_chains = whole_number("num_chains", num_chains, 2)
    base_left, base_right = base or (torch.zeros_like(left_bias), torch.zeros_like(right_bias))
    check_one_machine(weights, base_left, base_right)
    check_kinds(units, weights.shape[-2:])
    columns = weights.shape[-2:]
    if units[0].log2_states(columns[0]) > units[1].log2_states(columns[1]):
        weights, left_bias, right_bias = weights.mT, right_bias, left_bias
        base_left, base_right, units = base_right, base_left, (units[1], units[0])
    left_units, right_units = units
    left_shift, right_shift = left_bias - base_left, right_bias - base_right

    left = left_units.draw(base_left.expand(num_chains, -1).clone())
    to_right = field_of_states(weights, right_shift, left_units, left, num_temperatures)
    to_left = field_of_states(weights.mT, left_shift, right_units, left, num_temperatures)
    log_weights = torch.zeros(num_chains, dtype=torch.float64, device=weights.device)
    for k in range(num_temperatures):
        cold, hot = k / num_temperatures, (k + 1) / num_temperatures
        field = to_right(left)
        after = torch.add(base_right, field, alpha=hot)
        gain = right_units.log_partition(after) - right_units.log_partition(torch.add(base_right, field, alpha=cold))
        log_weights += gain.sum(-1) + (left @ left_shift) / num_temperatures
        if k + 1 < num_temperatures:
            right = right_units.draw(after)
            left = left_units.draw(to_left(right).mul_(hot).add_(base_left))
    if not torch.isfinite(log_weights).all():
        raise FloatingPointError("the energies of the chains are not finite")
    log_base = left_units.log_partition(base_left.double()).sum()
    log_base = log_base + right_units.log_partition(base_right.double()).sum()
    return summarised(log_base, log_weights)


@torch.no_grad()
def anneal_from_independent_units(
    machine: "Machine", num_temperatures: int, num_chains: int, base: Tensor | None
) -> LogPartition:
    """What :func:`annealed_importance_sampling` does, on any graph, with no unit summed out of the weights.

    Raises:
        ValueError: If a number is too small, or the machine has batch dimensions.
        FloatingPointError: If the energies are not finite.
    """
    num_temperatures = whole_number("num_temperatures", num_temperatures)
    num_chains = whole_number("num_chains", num_chains, 2)
    machine.check_single()
    base = torch.zeros_like(machine.biases) if base is None else base
    states = machine.units.draw(base.expand(num_chains, -1).clone())
    energy = machine.negative_energy(states)
    log_weights = torch.zeros(num_chains, dtype=torch.float64, device=states.device)
    for k in range(1, num_temperatures + 1):
        log_weights += (energy - states @ base) / num_temperatures
        if k < num_temperatures:
            swept = machine.sweep(states, 1, k / num_temperatures, base)
            states, energy = swept.states, swept.negative_energy
    if not torch.isfinite(log_weights).all():
        raise FloatingPointError("the energies of the chains are not finite")
    return summarised(machine.units.log_partition(base.double()).sum(), log_weights)


def summarised(log_base: Tensor, log_weights: Tensor) -> LogPartition:
    """The estimate from log Z of the base, ``[]``, and the log-weight of each chain."""
    count = len(log_weights)
    total = log_weights.logsumexp(0)
    relative = (log_weights - total + math.log(count)).exp()  # weights over their mean
    return LogPartition(
        value=log_base + total - math.log(count),
        standard_error=relative.std() / math.sqrt(count),
        ess=count**2 / relative.square().sum(),
    )


def joined_estimate(parts: Sequence[LogPartition], counts: Sequence[int]) -> LogPartition:
    """The estimate by all chains of several estimates of the same machine.

    Args:
        parts: Estimates by chains of their own.
        counts: Their numbers of chains, at least 2 each.

    Example:
        >>> halves = [annealed_importance_sampling(torch.zeros(4, 3), torch.zeros(4), torch.zeros(3), 10, 8)] * 2
        >>> print(joined_estimate(halves, [8, 8]))
        log Z = 4.852 ± 0.000 nats (effective chains: 16)
    """
    numbers = torch.tensor(counts, dtype=torch.float64, device=parts[0].value.device)
    values, errors = torch.stack([part.value for part in parts]), torch.stack([part.standard_error for part in parts])
    count, top = numbers.sum(), values.max()
    means = (values - top).exp()  # of the weights of each
    mean = (numbers * means).sum() / count
    within = (numbers - 1) * numbers * (errors * means).square()
    squares = (within + numbers * (means - mean).square()).sum()  # of the weights' distances from their mean
    return LogPartition(
        value=top + mean.log(),
        standard_error=(squares / (count - 1) / count).sqrt() / mean,
        ess=count / (1 + squares / (count * mean.square())),
    )
