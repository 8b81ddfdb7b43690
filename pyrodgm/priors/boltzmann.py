"""The Boltzmann-machine prior."""

import math
from collections.abc import Callable
from typing import Literal, get_args

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from pyrodgm import boltzmann
from pyrodgm.boltzmann import LogPartition, Moments
from pyrodgm.distributions import BoltzmannMachine

Sampler = Literal["pcd", "pa", "exact"]


class BoltzmannPrior(nn.Module):
    r"""A bipartite Boltzmann machine with learned couplings and biases, or what is made of it for continuous latents.

    .. math:: p(z) = \frac 1Z \exp\bigl(l^\top W r + b^\top l + c^\top r\bigr), \qquad z = [l, r] \in \{0, 1\}^{L + R}

    The gradient of log Z needs samples of the machine. In training mode each call first moves them on: persistent
    chains by ``num_sweeps`` Gibbs sweeps (``"pcd"``); or a new population by annealing over ``num_sweeps``
    temperatures (``"pa"``), which also finds modes that chains do not. The samples are buffers, so they are saved,
    resumed and moved with the module, and advance inside a traced step. In evaluation mode they stay as they are.

    The value of log Z in training is the population's own estimate, or is tracked along the chains from where it was
    last known: good for looking at, not for reporting. In evaluation mode it is estimated by annealed importance
    sampling (exact sums for up to 16 units on the smaller side), once for each state of the parameters, with random
    numbers of its own; only while a training step is traced does it stay as it is. The buffer ``log_partition_error``
    is the standard error of that estimate; it is infinite during training.

    Args:
        left: Number of left units L.
        right: Number of right units R.
        relaxation: Makes the distribution of the latents from that of z: ``RelaxedBoltzmann`` with a smoothing, say, by
            :func:`functools.partial`. By default the latents are z.
        sampler: ``"pcd"``, ``"pa"``, or ``"exact"`` for sums over the states of the smaller side, of at most 22 units.
        num_chains: Number of chains, or size of the population.
        num_sweeps: Gibbs sweeps, or temperatures, a call.

    Called with nothing it returns a distribution with event shape ``[L + R]``. Weights and biases start at 0.

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
    """

    left_chains: Tensor
    right_chains: Tensor
    log_partition: Tensor
    log_partition_error: Tensor
    estimated_at: Tensor

    def __init__(
        self,
        left: int,
        right: int,
        relaxation: Callable[[BoltzmannMachine], dist.TorchDistribution] | None = None,
        sampler: Sampler = "pcd",
        num_chains: int = 1000,
        num_sweeps: int = 40,
    ) -> None:
        super().__init__()
        if sampler not in get_args(Sampler):
            raise ValueError(f"sampler must be one of {', '.join(get_args(Sampler))}, got {sampler!r}")
        for name, number, least in (
            ("left", left, 1),
            ("right", right, 1),
            ("num_chains", num_chains, 2),
            ("num_sweeps", num_sweeps, 1),
        ):
            if number < least:
                raise ValueError(f"{name} must be at least {least}, got {number}")
        self.weights = nn.Parameter(torch.zeros(left, right))
        self.left_bias = nn.Parameter(torch.zeros(left))
        self.right_bias = nn.Parameter(torch.zeros(right))
        self.relaxation, self.sampler, self.num_sweeps = relaxation, sampler, num_sweeps
        if sampler == "exact":
            if not boltzmann.can_enumerate(self.weights):
                raise ValueError(
                    f"sampler must be 'pcd' or 'pa' where both sides have more than {boltzmann.MAX_UNITS} units, "
                    f"got 'exact' for {left} and {right}"
                )
            return
        left_chains, right_chains = boltzmann.random_states(self.weights.detach(), num_chains)
        self.register_buffer("left_chains", left_chains)
        self.register_buffer("right_chains", right_chains)
        self.register_buffer("log_partition", torch.tensor((left + right) * math.log(2.0)))
        self.register_buffer("log_partition_error", torch.tensor(0.0))
        self.register_buffer("estimated_at", self._flat())

    def forward(self) -> dist.TorchDistribution:
        machine = self.discrete()
        return machine if self.relaxation is None else self.relaxation(machine)

    def discrete(self) -> BoltzmannMachine:
        """The distribution of z itself; moves the samples on as a call of the module does."""
        given = self.weights, self.left_bias, self.right_bias
        if self.sampler == "exact":
            return BoltzmannMachine(*given)
        chains = self.left_chains, self.right_chains
        if self.training:
            moments = self._advance()
        else:
            if get_proxy_mode() is None and self._is_stale():
                self.estimate_log_partition()
            moments = boltzmann.sample_moments(*given, *chains)
        # cloned: the buffer changes in place, and a distribution should not change under its user
        return BoltzmannMachine(*given, log_partition=self.log_partition.clone(), moments=moments, chains=chains)

    @torch.no_grad()
    def estimate_log_partition(
        self, num_temperatures: int = 1000, num_chains: int = 1024, seed: int = 0
    ) -> LogPartition:
        """Estimate log Z by annealed importance sampling, or sum it exactly, and keep it for evaluation.

        Args:
            num_temperatures: As in :func:`pyrodgm.boltzmann.annealed_importance_sampling`.
            num_chains: Likewise.
            seed: Seed of the chains; the caller's random state is left as it was.
        """
        given = self.weights, self.left_bias, self.right_bias
        if self.sampler == "exact" or boltzmann.can_enumerate(self.weights, boltzmann.FAST_UNITS):
            value = boltzmann.exact_log_partition(*given)
            estimate = LogPartition(value, torch.zeros_like(value), torch.full_like(value, math.inf))
        else:
            device = self.weights.device
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(seed)
                estimate = boltzmann.annealed_importance_sampling(*given, num_temperatures, num_chains)
        if self.sampler != "exact":
            self.log_partition.copy_(estimate.value)
            self.log_partition_error.copy_(estimate.standard_error)
            self.estimated_at.copy_(self._flat())
        return estimate

    @torch.no_grad()
    def sample_gibbs(self, num_samples: int, num_sweeps: int = 1000) -> Tensor:
        """States z ``[num_samples, L + R]`` of new chains after ``num_sweeps`` Gibbs sweeps from fair coins."""
        left, _ = boltzmann.random_states(self.weights, num_samples)
        states = boltzmann.gibbs_sweeps(self.weights, self.left_bias, self.right_bias, left, num_sweeps)
        return torch.cat(states, -1)

    @torch.no_grad()
    def sample_annealed(self, num_samples: int, population_size: int = 1024) -> Tensor:
        """States z ``[num_samples, L + R]``, members of a population of at least as many, by annealing."""
        size = max(population_size, num_samples)
        population = boltzmann.population_annealing(self.weights, self.left_bias, self.right_bias, size)
        rows = torch.randperm(size, device=self.weights.device)[:num_samples]
        return torch.cat([population.left[rows], population.right[rows]], -1)

    @torch.no_grad()
    def _advance(self) -> Moments:
        given = self.weights.detach(), self.left_bias.detach(), self.right_bias.detach()
        chains = self.left_chains, self.right_chains
        if self.sampler == "pcd":
            self.log_partition.add_(boltzmann.log_partition_change(self._unflat(self.estimated_at), given, *chains))
            moments = boltzmann.advance_chains(*given, *chains, self.num_sweeps)
        else:
            population = boltzmann.population_annealing(*given, len(self.left_chains), num_temperatures=self.num_sweeps)
            self.left_chains.copy_(population.left)
            self.right_chains.copy_(population.right)
            self.log_partition.copy_(population.log_partition)
            moments = boltzmann.sample_moments(*given, *chains)
        self.estimated_at.copy_(self._flat())
        self.log_partition_error.fill_(math.inf)
        return moments

    def _is_stale(self) -> bool:
        return not (torch.isfinite(self.log_partition_error) and torch.equal(self.estimated_at, self._flat()))

    def _flat(self) -> Tensor:
        return torch.cat([self.weights.detach().flatten(), self.left_bias.detach(), self.right_bias.detach()])

    def _unflat(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        left, right = self.weights.shape
        weights, left_bias, right_bias = flat.split([left * right, left, right])
        return weights.view(left, right), left_bias, right_bias
