"""Persistent chains as a sampler."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.boltzmann.machine import Machine
from pyrodgm.boltzmann.samplers.protocol import Samples


@dataclass(frozen=True)
class Gibbs:
    """Persistent chains, moved on by sweeps of block-Gibbs sampling.

    Args:
        num_sweeps: Sweeps a call, at least 1.

    Source: Younes (1989), Probability Theory and Related Fields 82, 625; Tieleman (2008), ICML.

    Example:
        >>> from pyrodgm.boltzmann import Graph, GraphMachine
        >>> machine = GraphMachine(Graph.complete(5), torch.zeros(10), torch.full((5,), 99.0))
        >>> sampler = Gibbs(3)
        >>> sampler.sample(machine, sampler.start(machine, 100)).states.mean()
        tensor(1.)
    """

    num_sweeps: int = 40

    def __post_init__(self) -> None:
        whole_number("num_sweeps", self.num_sweeps)

    def start(self, machine: Machine, num_chains: int) -> dict[str, Tensor]:
        """States of fair coins."""
        return {"states": machine.random_states(num_chains)}

    @torch.no_grad()
    def sample(self, machine: Machine, state: Mapping[str, Tensor]) -> Samples:
        """The chains after further sweeps."""
        return Samples({"states": machine.gibbs(state["states"], self.num_sweeps)})
