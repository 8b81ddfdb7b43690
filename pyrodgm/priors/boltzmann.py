"""The Boltzmann-machine prior."""

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from pyrodgm import boltzmann
from pyrodgm.arithmetic.arguments import callables, whole_number
from pyrodgm.boltzmann import BipartiteMachine, Graph, GraphMachine, LogPartition, Machine, SamplerCheck
from pyrodgm.boltzmann.annealed_importance import joined_estimate
from pyrodgm.boltzmann.layers import check_kinds
from pyrodgm.boltzmann.samplers import Gibbs, ParallelTempering, PopulationAnnealing, Sampler
from pyrodgm.boltzmann.units import BITS, Units, require_units
from pyrodgm.distributions import BoltzmannMachine, VisibleBoltzmann
from pyrodgm.processes import all_sums, alone, independent_draws, pooled, register_state, world

SamplerName = Literal["pcd", "pa", "pt", "exact"]

BLOCK = 256  # chains annealed per block: on the CPU, larger blocks are no faster per chain


class BoltzmannPrior(nn.Module):
    r"""A Boltzmann machine with learned couplings and biases, or a continuous relaxation of one.

    .. math:: p(z) = \frac 1Z \exp\bigl(l^\top W r + b^\top l + c^\top r\bigr), \qquad z = [l, r] \in \{0, 1\}^{L + R}

    for two fully connected layers; on a graph the exponent is :math:`\sum_{(i, j)} w_{ij} z_i z_j + \sum_i b_i z_i`.
    Other kinds of units are possible: with ``Potts(K)`` the latents are concatenated one-hot vectors of K states.

    The gradient of log Z needs samples of the machine. In training mode each call first updates them: persistent
    chains by ``num_sweeps`` Gibbs sweeps (``"pcd"``), a new population by annealing over ``num_sweeps`` temperatures
    (``"pa"``), chains at ten temperatures by ``num_sweeps`` rounds of parallel tempering (``"pt"``), or the samples of
    any :class:`pyrodgm.boltzmann.Sampler`. Annealing and tempering also find modes that Gibbs chains miss.
    The samples are buffers, so they are saved, resumed and moved with the module, and advance inside a traced step. In
    evaluation mode they do not change. When several processes train together, each has its own sampler with
    ``num_chains`` chains: moments are means over the chains of all, and log Z is the log of the mean of their Z.

    In training, log Z is the sampler's estimate or, for samplers without one, the previous value plus the change of
    log Z estimated from the samples: good enough to monitor, not to report. In evaluation mode it is estimated by
    annealed importance sampling (by exact sums for up to 16 units on the smaller side, or a graph of width up to 12)
    whenever the parameters have changed, without touching the caller's random state; while a training step is traced
    it is not re-estimated. The buffer ``log_partition_error`` is the standard error of that estimate; it is infinite
    during training.

    Args:
        left: Number of left units L; or a graph of n units, in which case ``right`` must not be given.
        right: Number of right units R.
        relaxation: Maps the distribution of z to that of the latents, such as ``RelaxedBoltzmann`` with a smoothing
            set by :func:`functools.partial`. By default the latents are z.
        sampler: ``"pcd"``, ``"pa"``, ``"pt"``, ``"exact"`` for exact sums (up to 22 units on the smaller side, or a
            graph of width up to 20), or a sampler.
        num_chains: Number of chains, or size of the population.
        num_sweeps: Gibbs sweeps, temperatures or rounds per call of ``"pcd"``, ``"pa"`` or ``"pt"``.
        num_visible: If given, the first ``num_visible`` units are latents and the others are hidden and summed out, as
            in :class:`pyrodgm.distributions.VisibleBoltzmann`; with two layers it must be the number of left units.
        units: The kind of the units, or for two layers a pair of kinds, left and right; bits in {0, 1} by default.

    Called with nothing it returns a distribution with event shape ``[n]``, ``[L + R]`` for two layers, or
    ``[num_visible]``; K times as many columns for units of K states. Couplings and biases start at 0.

    Raises:
        ValueError: If ``sampler`` is unknown, a number is too small, or the machine too large for exact sums.

    Source: Rolfe (2017), arXiv 1609.02200; Vahdat et al. (2018), arXiv 1802.04920 and 1805.07445.

    Example:
        >>> from functools import partial
        >>> from pyrodgm.distributions import PowerSmoothing, RelaxedBoltzmann
        >>> relaxation = partial(RelaxedBoltzmann, smoothing=PowerSmoothing(40.0), num_iterations=5)
        >>> prior = BoltzmannPrior(100, 100, relaxation)
        >>> prior().log_prob(torch.rand(7, 200)).shape
        torch.Size([7])
        >>> ring = Graph(30, [(i, (i + 1) % 30) for i in range(30)])
        >>> BoltzmannPrior(ring, relaxation=relaxation)().event_shape
        torch.Size([30])
    """

    chains: Tensor
    log_partition: Tensor
    log_partition_error: Tensor
    estimated_at: Tensor

    def __init__(
        self,
        left: int | Graph,
        right: int | None = None,
        relaxation: Callable[[Any], dist.TorchDistribution] | None = None,
        sampler: SamplerName | Sampler = "pcd",
        num_chains: int = 1000,
        num_sweeps: int = 40,
        num_visible: int | None = None,
        units: Units | tuple[Units, Units] = BITS,
    ) -> None:
        super().__init__()
        self.graph = left if isinstance(left, Graph) else None
        self.kinds = units if isinstance(units, tuple) else (units, units)
        self._add_parameters(left, right)
        num_chains, num_sweeps = whole_number("num_chains", num_chains, 2), whole_number("num_sweeps", num_sweeps)
        if num_visible is not None:
            num_visible = self.kinds[0].width * whole_number("num_visible", num_visible)
        if relaxation is not None:
            callables(relaxation=relaxation)
        self.relaxation, self.num_visible = relaxation, num_visible
        self.sampler = _sampler(sampler, num_sweeps)
        machine = self.machine().detach()
        if self.sampler is None:
            if not machine.can_sum():
                raise ValueError(
                    f"sampler must be 'pcd', 'pa', 'pt' or your own for {machine}, too large for 'exact' sums"
                )
            return
        state = self.sampler.start(machine, num_chains)
        self.kept = tuple(name for name in state if name != "states")
        register_state(self, "sharded", "chains", state["states"])
        for name in self.kept:
            register_state(self, "sharded", f"sampler_{name}", state[name])
        register_state(self, "replicated", "log_partition", torch.tensor(machine.units.log_volume(machine.num_units)))
        register_state(self, "replicated", "log_partition_error", torch.tensor(0.0))
        register_state(self, "replicated", "estimated_at", self._flat())

    def _add_parameters(self, left: int | Graph, right: int | None) -> None:
        if isinstance(left, Graph):
            if right is not None:
                raise ValueError(f"right must be left out with a graph, got {right}")
            require_units(units=self.kinds[0])
            if self.kinds[0] != self.kinds[1]:
                raise ValueError(f"units must be of one kind on a graph, got {self.kinds[0]!r} and {self.kinds[1]!r}")
            width = self.kinds[0].width
            pairs = () if width == 1 else (width, width)
            self.couplings = nn.Parameter(torch.zeros(len(left.edges), *pairs))
            self.biases = nn.Parameter(torch.zeros(left.num_units * width))
            return
        if right is None:
            raise ValueError("right must be given with a number of left units, got None")
        check_kinds(self.kinds)
        left = whole_number("left", left) * self.kinds[0].width
        right = whole_number("right", right) * self.kinds[1].width
        self.weights = nn.Parameter(torch.zeros(left, right))
        self.left_bias = nn.Parameter(torch.zeros(left))
        self.right_bias = nn.Parameter(torch.zeros(right))

    def machine(self) -> Machine:
        """The energy, with the parameters of the module."""
        if self.graph is not None:
            return GraphMachine(self.graph, self.couplings, self.biases, self.kinds[0])
        return BipartiteMachine(self.weights, self.left_bias, self.right_bias, self.kinds)

    def forward(self) -> dist.TorchDistribution:
        machine = self.discrete()
        return machine if self.relaxation is None else self.relaxation(machine)

    def discrete(self) -> BoltzmannMachine | VisibleBoltzmann:
        """The distribution of z, without the relaxation; updates the samples as calling the module does."""
        units = self._all_units()
        return units if self.num_visible is None else VisibleBoltzmann(units, self.num_visible)

    def _all_units(self) -> BoltzmannMachine:
        machine = self.machine()
        if self.sampler is None:
            return BoltzmannMachine(machine)
        if self.training:
            moments = self._advance(machine.detach(), self.sampler)
        else:
            if get_proxy_mode() is None and self.needs_estimate():
                with alone():
                    self.estimate_log_partition()
            moments = machine.sample_moments(self.chains)
        # cloned: the buffer is updated in place, and a returned distribution should not change
        return BoltzmannMachine(machine, log_partition=self.log_partition.clone(), moments=moments, chains=self.chains)

    @torch.no_grad()
    def estimate_log_partition(
        self, num_temperatures: int = 1000, num_chains: int = 1024, seed: int = 0
    ) -> LogPartition:
        """Estimate log Z by annealed importance sampling, or sum it exactly, and store it for evaluation.

        On the CPU several processes share the chains, so all of them must call this; each gets the same estimate that
        a single process would get.

        Args:
            num_temperatures: As in :func:`pyrodgm.boltzmann.annealed_importance_sampling`.
            num_chains: As there.
            seed: Seed of the chains; the caller's random state is not changed.
        """
        machine = self.machine()
        if self.sampler is None or machine.can_sum(fast=True):
            value = machine.log_partition()
            estimate = LogPartition(value, torch.zeros_like(value), torch.full_like(value, math.inf))
        else:
            estimate = _annealed(machine, num_temperatures, whole_number("num_chains", num_chains, 2), seed)
        if self.sampler is not None:
            self.log_partition.copy_(estimate.value)
            self.log_partition_error.copy_(estimate.standard_error)
            self.estimated_at.copy_(self._flat())
        return estimate

    def check_sampler(self, num_calls: int = 20) -> SamplerCheck | None:
        """Diagnose the sampler by further calls, whose samples are discarded; None with exact sums."""
        if self.sampler is None:
            return None
        return boltzmann.check_sampler(self.machine().detach(), self.sampler, self._state(), num_calls)

    def _state(self) -> dict[str, Tensor]:
        return {"states": self.chains, **{name: getattr(self, f"sampler_{name}") for name in self.kept}}

    @torch.no_grad()
    def sample_gibbs(self, num_samples: int, num_sweeps: int = 1000) -> Tensor:
        """States z ``[num_samples, D]`` of new chains after ``num_sweeps`` Gibbs sweeps from uniform random states."""
        machine = self.machine()
        return machine.gibbs(machine.random_states(num_samples), num_sweeps)[:, : self.num_visible]

    @torch.no_grad()
    def sample_annealed(self, num_samples: int, population_size: int = 1024) -> Tensor:
        """States z ``[num_samples, D]``, drawn from an annealed population of at least ``population_size`` members."""
        states = boltzmann.anneal_population(self.machine(), max(population_size, num_samples)).states
        return states[torch.randperm(len(states), device=states.device)[:num_samples], : self.num_visible]

    @torch.no_grad()
    def _advance(self, machine: Machine, sampler: Sampler) -> tuple[Tensor, ...]:
        """Update the samples and log Z; returns the moments, averaged over all processes."""
        state = self._state()
        with independent_draws():
            samples = sampler.sample(machine, state)
        if samples.log_partition is None:
            change = machine.log_partition_change(self._unflat(self.estimated_at, machine), self.chains)
            log_partition = self.log_partition + change
        else:
            log_partition = samples.log_partition.value
        for name, buffer in state.items():
            buffer.copy_(samples.state[name])
        moments, log_partition = pooled(machine.sample_moments(self.chains), log_partition)
        self.log_partition.copy_(log_partition)
        self.estimated_at.copy_(self._flat())
        self.log_partition_error.fill_(math.inf)
        return moments

    def needs_estimate(self) -> bool:
        """Whether evaluation has to estimate log Z first, as the parameters have changed since the last estimate."""
        if self.sampler is None or self.training:
            return False
        return not (torch.isfinite(self.log_partition_error) and torch.equal(self.estimated_at, self._flat()))

    def _flat(self) -> Tensor:
        return torch.cat([t.detach().flatten() for t in self.machine().parameters])

    def _unflat(self, flat: Tensor, like: Machine) -> Machine:
        parts = flat.split([t.numel() for t in like.parameters])
        return like.replace(*(part.view_as(t) for part, t in zip(parts, like.parameters, strict=True)))


def _annealed(machine: Machine, num_temperatures: int, num_chains: int, seed: int) -> LogPartition:
    """Estimate log Z by blocks of chains, each with its own seed; the blocks are divided among the processes."""
    device, team = machine.biases.device, world()
    blocks = max(1, round(num_chains / BLOCK)) if device.type == "cpu" else 1
    counts = [num_chains * (i + 1) // blocks - num_chains * i // blocks for i in range(blocks)]
    found = torch.zeros(blocks, 3, dtype=torch.float64, device=device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for i in range(team.rank, blocks, team.size) if blocks > 1 else [0]:
            torch.manual_seed((seed + 0x9E3779B97F4A7C15 * i) % 2**63)
            part = machine.estimate_log_partition(num_temperatures, counts[i])
            found[i] = torch.stack([part.value, part.standard_error, part.ess])
    if blocks == 1:
        return part
    whole = found if team.size == 1 else all_sums([found])[0]
    return joined_estimate([LogPartition(*row) for row in whole], counts)


def _sampler(sampler: SamplerName | Sampler, num_sweeps: int) -> Sampler | None:
    """The sampler of that name, or the given sampler; None for exact sums."""
    if not isinstance(sampler, str):
        if not callable(getattr(sampler, "start", None)):
            raise TypeError(f"sampler must be one of {', '.join(get_args(SamplerName))}, or a sampler, got {sampler!r}")
        return sampler
    if sampler not in get_args(SamplerName):
        raise ValueError(f"sampler must be one of {', '.join(get_args(SamplerName))}, or a sampler, got {sampler!r}")
    if sampler == "exact":
        return None
    if sampler == "pt":
        return ParallelTempering(num_rounds=max(2, num_sweeps))
    return Gibbs(num_sweeps) if sampler == "pcd" else PopulationAnnealing(num_sweeps)
