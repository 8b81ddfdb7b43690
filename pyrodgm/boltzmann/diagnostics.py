"""How far the samples of a sampler can be trusted."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import validated, whole_number
from pyrodgm.boltzmann.machine import Machine, require_machine
from pyrodgm.boltzmann.samplers.protocol import Sampler
from pyrodgm.boltzmann.samplers.tempering import ParallelTempering
from pyrodgm.extras import needs_extra

LARGEST_R_HAT = 1.05
LEAST_P_VALUE = 0.01
LEAST_EXCHANGE_RATE = 0.1
LEAST_POPULATION = 30.0
MOST_SAMPLES = 500  # of a two-sample test


class TwoSample(NamedTuple):
    """A two-sample test.

    Attributes:
        statistic: The energy distance of the two samples; about 0 where they have one distribution.
        p_value: Share of permutations of the two samples whose statistic is at least as large, in (0, 1].
    """

    statistic: float
    p_value: float


@torch.no_grad()
def two_sample_test(first: Tensor, second: Tensor, num_permutations: int = 200) -> TwoSample:
    r"""Whether two samples have one distribution, by the energy distance and permutations.

    .. math:: 2\, \mathbb E \lVert x - y \rVert - \mathbb E \lVert x - x' \rVert - \mathbb E \lVert y - y' \rVert

    which is 0 for equal distributions alone; for bits the norm is the root of the number that differ.

    Args:
        first: ``[N, n]``, independent: of samples that depend on each other p-values are too low.
        second: ``[M, n]``, independent.
        num_permutations: The p-value is a multiple of one over one more.

    Raises:
        ValueError: If the samples have different numbers of columns, or fewer than 2 rows.

    Source: Székely and Rizzo (2013), Journal of Statistical Planning and Inference 143, 1249.

    Example:
        >>> two_sample_test(torch.zeros(10, 3), torch.ones(10, 3)).p_value < 0.01
        True
    """
    num_permutations = whole_number("num_permutations", num_permutations)
    validated(first=first, second=second)
    if first.dim() != 2 or second.dim() != 2 or first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise ValueError(f"first and second must have columns alike, got {list(first.shape)} and {list(second.shape)}")
    both = torch.cat([first, second]).double()
    distances = torch.cdist(both, both)
    count, other = len(first), len(second)
    signs = torch.full((len(both), num_permutations + 1), -1.0 / other, dtype=torch.float64, device=both.device)
    signs[:count, 0] = 1.0 / count
    for column in range(1, num_permutations + 1):
        signs[torch.randperm(len(both), device=both.device)[:count], column] = 1.0 / count
    values = -(signs * (distances @ signs)).sum(0)
    as_large = int((values[1:] >= values[0] - 1e-12).sum())
    return TwoSample(float(values[0]), (as_large + 1) / (num_permutations + 1))


@dataclass(frozen=True)
class SamplerCheck:
    """What calls of a sampler say of its samples.

    Attributes:
        negative_energy: -E of each chain at each call, ``[num_calls, N]``.
        r_hat: Rank-normalised split R-hat, the larger of that of the energies and that of the numbers of units that are
            on (of Potts units, in their first state); 1 where all chains visit the same.
        effective_samples: Number of independent samples that all calls together are worth.
        autocorrelation_time: Calls between independent samples of one chain.
        reference: Test of the samples, other chains of each call, against ladders of chains at many temperatures.
        diagnostics: Those of the sampler's last call.
    """

    negative_energy: Tensor
    r_hat: float
    effective_samples: float
    autocorrelation_time: float
    reference: TwoSample
    diagnostics: Mapping[str, Tensor]

    @property
    def doubts(self) -> list[str]:
        """Reasons not to trust the samples; empty where there is none."""
        rates = self.diagnostics.get("exchange_rates")
        population = self.diagnostics.get("effective_population")
        found = {
            f"R-hat is {self.r_hat:.2f}, above {LARGEST_R_HAT}: chains stay apart": self.r_hat > LARGEST_R_HAT,
            f"samples differ from tempered ones (p = {self.reference.p_value:.3f})": (
                self.reference.p_value < LEAST_P_VALUE
            ),
            f"neighbouring temperatures exchange in less than {LEAST_EXCHANGE_RATE:.0%} of the rounds: use more": (
                rates is not None and bool((rates < LEAST_EXCHANGE_RATE).any())
            ),
            f"the population is worth fewer than {LEAST_POPULATION:.0f} members": (
                population is not None and bool(population < LEAST_POPULATION)
            ),
        }
        return [reason for reason, holds in found.items() if holds]

    def __str__(self) -> str:
        return (
            f"R-hat {self.r_hat:.3f}, autocorrelation {self.autocorrelation_time:.1f} calls, "
            f"p = {self.reference.p_value:.3f} against tempered samples"
        )


@torch.no_grad()
def check_sampler(
    machine: Machine, sampler: Sampler, state: Mapping[str, Tensor] | None = None, num_calls: int = 20
) -> SamplerCheck:
    """Call a sampler repeatedly and see whether its samples can be trusted.

    Args:
        machine: One machine.
        sampler: The sampler.
        state: Where it is, left as it is; by default 200 chains at their start.
        num_calls: Number of calls, at least 4.

    Raises:
        ValueError: If there are too few calls.

    Source: Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), Bayesian Analysis 16, 667, arXiv 1903.08008.

    Example:
        >>> from pyrodgm.boltzmann import Gibbs, Graph, GraphMachine
        >>> machine = GraphMachine(Graph.complete(4), torch.full((6,), 9.0), torch.full((4,), -13.0))  # two modes
        >>> check_sampler(machine, Gibbs(1)).doubts[0]
        'R-hat is ..., above 1.05: chains stay apart'
    """
    with needs_extra("evaluation"):
        from arviz_stats.base import array_stats

    require_machine(machine)
    if not callable(getattr(sampler, "sample", None)):
        raise TypeError(f"sampler must be a Sampler, got {sampler!r}")
    num_calls = whole_number("num_calls", num_calls, 4)
    state = sampler.start(machine, 200) if state is None else state
    energies, activities, states = [], [], []
    for _ in range(num_calls):
        samples = sampler.sample(machine, state)
        state = samples.state
        states.append(samples.states)
        energies.append(machine.negative_energy(samples.states))
        activities.append(machine.units.activity(samples.states))
    negative_energy = torch.stack(energies)
    draws = negative_energy.double().T.cpu().numpy()
    with np.errstate(all="ignore"):
        on = torch.stack(activities).double().T.cpu().numpy()
        r_hats = [float(array_stats.rhat(values)) for values in (draws, on)]
        effective = float(array_stats.ess(draws))
    effective = draws.size if math.isnan(effective) else effective  # all energies are the same
    return SamplerCheck(
        negative_energy,
        max(1.0 if math.isnan(value) else value for value in r_hats),
        effective,
        max(1.0, draws.size / effective),
        two_sample_test(samples_apart(states), tempered_samples(machine)),
        samples.diagnostics,
    )


def samples_apart(calls: Sequence[Tensor]) -> Tensor:
    """Samples ``[M, n]`` of several calls ``[N, n]`` each that a permutation may take for independent; at most 500.

    No chain comes twice, and those of one call lie as far from each other as there are calls: members of a population
    that have an ancestor in common lie side by side.
    """
    most = -(-MOST_SAMPLES // len(calls))
    return torch.cat([states[call :: len(calls)][:most] for call, states in enumerate(calls)])[:MOST_SAMPLES]


def tempered_samples(machine: Machine, num_samples: int = 200, num_calls: int = 3) -> Tensor:
    """States ``[num_samples, n]`` of ladders of ten temperatures, to hold other samples against."""
    ladders = ParallelTempering(num_rounds=20)
    state: Mapping[str, Tensor] = ladders.start(machine, num_samples)
    for _ in range(num_calls):
        state = ladders.sample(machine, state).state
    return state["states"]
