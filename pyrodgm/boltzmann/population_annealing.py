"""Population annealing: weighted, resampled and swept populations from infinite temperature to the machine's own."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.boltzmann.annealed_importance import LogPartition
from pyrodgm.boltzmann.bipartite_machine import BipartiteMachine
from pyrodgm.boltzmann.energy import check_one_machine
from pyrodgm.boltzmann.machine import Machine, Swept, require_machine
from pyrodgm.boltzmann.resampling import systematic_resample

CANDIDATES = 16  # steps in inverse temperature that are looked at together


@dataclass(frozen=True)
class Population:
    """A population at the machine's own temperature, and what its annealing says of it.

    Attributes:
        states: ``[N, n]``.
        log_partition: Estimated log Z in nats, ``[]``, float64.
        families: Index of the first ancestor of each member, ``[N]``, int64.
        inverse_temperatures: Those visited, from above 0 to 1, ``[K]``.
        num_left: Number of left units L of a machine of two layers; 0 on other graphs.
    """

    states: Tensor
    log_partition: Tensor
    families: Tensor
    inverse_temperatures: Tensor
    num_left: int = 0

    @property
    def left(self) -> Tensor:
        """The left units of a machine of two layers, ``[N, L]``."""
        return self.states[:, : self.num_left]

    @property
    def right(self) -> Tensor:
        """The right units of a machine of two layers, ``[N, R]``."""
        return self.states[:, self.num_left :]

    @property
    def family_sizes(self) -> Tensor:
        """Number of descendants of each first ancestor, ``[N]``."""
        ones = torch.ones_like(self.families)
        return torch.zeros_like(self.families).scatter_add_(0, self.families, ones)

    @property
    def num_families(self) -> Tensor:
        """Number of first ancestors with descendants, ``[]``; sampling is safe while they are many."""
        return (self.family_sizes > 0).sum()

    @property
    def effective_population(self) -> Tensor:
        r"""Number of independent members that the population is worth at least, ``[]``, between 1 and N.

        .. math:: N_{\mathrm{eff}} = N \Bigl/ \rho_t, \qquad \rho_t = N \sum_f (n_f / N)^2

        Source: Wang, Machta and Katzgraber (2015), Physical Review E 92, 063307, eq. 12.
        """
        sizes = self.family_sizes.to(torch.float64)
        return sizes.sum().square() / sizes.square().sum()

    @property
    def estimate(self) -> LogPartition:
        r"""Log Z with the error that the growth of families tells, and the effective population.

        .. math:: \hat\sigma^2 = \sum_f (n_f / N)^2 - 1 / N
        """
        effective = self.effective_population
        error = (1.0 / effective - 1.0 / len(self.families)).clamp(min=0.0).sqrt()
        return LogPartition(self.log_partition, error, effective)


@torch.no_grad()
def population_annealing(
    weights: Tensor,
    left_bias: Tensor,
    right_bias: Tensor,
    population_size: int = 1024,
    *,
    target_ess: float = 0.9,
    num_temperatures: int | None = None,
    num_sweeps: int = 1,
) -> Population:
    r"""Anneal a population from fair coins to the machine: reweight, resample systematically, sweep.

    .. math:: \log Z \approx (L + R) \log 2 + \sum_k \log \frac 1N \sum_n e^{-(\beta_k - \beta_{k-1}) E(s_n)}

    Steps in inverse temperature :math:`\beta` adapt to the population: each is as long as leaves its weights an
    effective share ``target_ess`` of the members. Unlike persistent chains, a population is shared out over modes that
    lie far apart by their weight.

    Args:
        weights: ``[L, R]``, real.
        left_bias: ``[L]``, real.
        right_bias: ``[R]``, real.
        population_size: Number of members N, at least 2.
        target_ess: Effective sample size of the weights of a step, as a share of N in (0, 1).
        num_temperatures: If given, there are exactly so many steps, whatever the values: for use within a traced
            training step. Each is then as long as above, or longer where the steps that remain would not suffice;
            steps left over are sweeps at the machine's own temperature.
        num_sweeps: Sweeps a temperature, at least 1.

    Raises:
        ValueError: If an argument is out of range or the shapes do not fit.
        FloatingPointError: With adaptive steps, if the energies are not finite.

    Source: Hukushima and Iba (2003), AIP Conference Proceedings 690, 200; Machta (2010), Physical Review E 82, 026704;
    adaptive steps as in Amey and Machta (2018), Physical Review E 97, 033301.

    Example:
        >>> population = population_annealing(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2), 100)
        >>> population.log_partition.item() / 5, population.num_families.item()  # log 2
        (0.69314..., 100)
    """
    check_one_machine(weights, left_bias, right_bias)
    machine = BipartiteMachine(weights, left_bias, right_bias)
    return anneal_population(
        machine,
        population_size,
        target_ess=target_ess,
        num_temperatures=num_temperatures,
        num_sweeps=num_sweeps,
    )


@torch.no_grad()
def anneal_population(
    machine: Machine,
    population_size: int = 1024,
    *,
    target_ess: float = 0.9,
    num_temperatures: int | None = None,
    num_sweeps: int = 1,
) -> Population:
    """Anneal a population to a machine on any graph; see :func:`population_annealing`.

    Example:
        >>> from pyrodgm.boltzmann import Graph, GraphMachine
        >>> machine = GraphMachine(Graph.complete(5), torch.zeros(10), torch.zeros(5))
        >>> anneal_population(machine, 100).log_partition.item() / 5  # log 2
        0.69314...
    """
    require_machine(machine)
    machine.check_single()
    population_size = whole_number("population_size", population_size, 2)
    target_ess = finite_number("target_ess", target_ess, above=0.0, below=1.0)
    num_temperatures = None if num_temperatures is None else whole_number("num_temperatures", num_temperatures)
    num_sweeps = whole_number("num_sweeps", num_sweeps)

    states = machine.random_states(population_size)
    swept = Swept((states,), machine.negative_energy(states))
    families = torch.arange(population_size, device=machine.biases.device)
    log_partition = machine.biases.new_full((), machine.units.log_volume(machine.num_units), dtype=torch.float64)
    beta, visited = torch.zeros_like(log_partition), list[Tensor]()
    while True:
        negative_energy = swept.negative_energy.double()
        least = 0.0 if num_temperatures is None else (1.0 - beta) / (num_temperatures - len(visited))
        step = torch.maximum(_step(negative_energy, 1.0 - beta, target_ess), torch.as_tensor(least).to(beta))
        beta = beta + step
        visited.append(beta)
        log_weights = step * negative_energy
        log_partition = log_partition + log_weights.logsumexp(0) - math.log(population_size)
        index = systematic_resample(log_weights)
        families = families[index]
        swept = machine.sweep(swept, num_sweeps, beta, rows=index)
        if num_temperatures is None and not torch.isfinite(log_partition):
            raise FloatingPointError("the energies of the population are not finite")
        if len(visited) == num_temperatures or (num_temperatures is None and beta >= 1.0):
            num_left = machine.weights.shape[0] if isinstance(machine, BipartiteMachine) else 0
            return Population(swept.states, log_partition, families, torch.stack(visited), num_left)


def _step(negative_energy: Tensor, longest: Tensor, target_ess: float) -> Tensor:
    """The longest step, to six per cent and at most ``longest``, whose weights keep the effective share."""

    def longest_kept(steps: Tensor) -> Tensor:
        weights = (steps.unsqueeze(-1) * below).exp()
        ess = weights.sum(-1).square() / weights.square().sum(-1)
        return (steps * (ess >= target_ess * len(below))).amax()

    below = negative_energy - negative_energy.amax()
    # All candidates at once, first by factors of two: a bisection would be hundreds of operations a temperature.
    candidates = torch.arange(CANDIDATES, dtype=longest.dtype, device=longest.device)
    least = longest * 0.5 ** (CANDIDATES - 1)
    coarse = torch.maximum(longest_kept(longest * 0.5**candidates), least)
    fine = coarse + (torch.minimum(2.0 * coarse, longest) - coarse) * (candidates + 1) / CANDIDATES
    return torch.maximum(longest_kept(fine), coarse)
