"""Population annealing as a sampler."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.boltzmann.machine import Machine
from pyrodgm.boltzmann.population_annealing import anneal_population
from pyrodgm.boltzmann.samplers.protocol import Samples


@dataclass(frozen=True)
class PopulationAnnealing:
    r"""A new population by annealing in every call; it finds modes that persistent chains do not.

    The error of its log Z is that of how the families of the first members have grown,

    .. math:: \hat\sigma^2 = \sum_f (n_f / N)^2 - 1 / N,

    which for a single step is that of importance sampling.

    Args:
        num_temperatures: Steps a call; None: as many as they need, which cannot be traced.
        num_sweeps: Sweeps a temperature, at least 1.
        target_ess: As in :func:`pyrodgm.boltzmann.population_annealing`.

    Source: Hukushima and Iba (2003); Machta (2010), Physical Review E 82, 026704; families as in Wang, Machta and
    Katzgraber (2015), Physical Review E 92, 063307.

    Example:
        >>> from pyrodgm.boltzmann import Graph, GraphMachine
        >>> machine = GraphMachine(Graph.complete(5), torch.zeros(10), torch.zeros(5))
        >>> sampler = PopulationAnnealing()
        >>> print(sampler.sample(machine, sampler.start(machine, 100)).log_partition)  # 5 log 2
        log Z = 3.466 ± 0.000 nats (effective chains: 100)
    """

    num_temperatures: int | None = None
    num_sweeps: int = 1
    target_ess: float = 0.9

    def __post_init__(self) -> None:
        whole_number("num_sweeps", self.num_sweeps)
        finite_number("target_ess", self.target_ess, above=0.0, below=1.0)
        if self.num_temperatures is not None:
            whole_number("num_temperatures", self.num_temperatures)

    def start(self, machine: Machine, num_chains: int) -> dict[str, Tensor]:
        """States of fair coins, which say only how many there are."""
        return {"states": machine.random_states(num_chains)}

    @torch.no_grad()
    def sample(self, machine: Machine, state: Mapping[str, Tensor]) -> Samples:
        """A new population of as many members as there are states."""
        population = anneal_population(
            machine,
            len(state["states"]),
            target_ess=self.target_ess,
            num_temperatures=self.num_temperatures,
            num_sweeps=self.num_sweeps,
        )
        return Samples(
            {"states": population.states},
            population.estimate,
            {"effective_population": population.effective_population, "families": population.num_families},
        )
