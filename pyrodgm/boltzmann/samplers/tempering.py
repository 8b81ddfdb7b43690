"""Parallel tempering with temperatures that adapt, and log Z from all of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.boltzmann.annealed_importance import LogPartition
from pyrodgm.boltzmann.machine import Machine
from pyrodgm.boltzmann.samplers.bridges import bridge_log_ratios
from pyrodgm.boltzmann.samplers.protocol import Samples

LEAST_REJECTION = 1e-3  # keeps temperatures apart where every exchange is accepted


@dataclass(frozen=True)
class ParallelTempering:
    r"""Ladders of chains from fair coins to the machine, whose neighbours exchange their states.

    .. math:: p_{\beta}(z) \propto e^{-\beta E(z)}, \qquad 0 = \beta_1 < \dots < \beta_T = 1, \qquad
              P(\text{exchange } k, k+1) = \min\bigl(1, e^{(\beta_{k+1} - \beta_k)(E_{k+1} - E_k)}\bigr)

    A round is ``num_sweeps`` sweeps at every temperature, then exchanges of the even or of the odd pairs in turn.
    States that reach fair coins come back in another mode, which chains at one temperature never leave.

    Temperatures adapt after each call towards equal rates of rejection. Log Z is that of fair coins plus the log ratios
    of neighbouring temperatures by Bennett's acceptance ratio over all rounds of the call; its error is from the spread
    over the ladders, which are independent of each other, so that it holds whatever the autocorrelation: once
    they have forgotten their start, whose bias all of them share. Discard the first calls.

    Args:
        num_temperatures: Chains of a ladder T, at least 2.
        num_rounds: Rounds a call, at least 2.
        num_sweeps: Sweeps before an exchange, at least 1.
        adapt: Whether temperatures move.

    A call's diagnostics: ``exchange_rates`` ``[T - 1]``, ``inverse_temperatures`` ``[T]`` and ``barrier``, the sum of
    the rates of rejection, which grows with how hard the machine is and says how many temperatures it needs: about
    twice as many.

    Source: Hukushima and Nemoto (1996), Journal of the Physical Society of Japan 65, 1604; Syed, Bouchard-Côté,
    Deligiannidis and Doucet (2022), JRSS B 84, 321 (alternating pairs, temperatures, barrier); Bennett (1976), Journal
    of Computational Physics 22, 245.

    Example:
        >>> from pyrodgm.boltzmann import Graph, GraphMachine
        >>> machine = GraphMachine(Graph.complete(5), torch.zeros(10), torch.zeros(5))
        >>> sampler = ParallelTempering(num_temperatures=3, num_rounds=2)
        >>> print(sampler.sample(machine, sampler.start(machine, 100)).log_partition)  # 5 log 2
        log Z = 3.466 ± 0.000 nats (effective chains: 100)
    """

    num_temperatures: int = 10
    num_rounds: int = 10
    num_sweeps: int = 1
    adapt: bool = True

    def __post_init__(self) -> None:
        whole_number("num_temperatures", self.num_temperatures, 2)
        whole_number("num_rounds", self.num_rounds, 2)
        whole_number("num_sweeps", self.num_sweeps)

    def start(self, machine: Machine, num_chains: int) -> dict[str, Tensor]:
        """Each ladder annealed down its temperatures, which are evenly spaced, from fair coins.

        Coins at a low temperature fall into modes that are far from typical, and ladders are long in leaving them.
        """
        machine.check_single()
        states = [machine.random_states(whole_number("num_chains", num_chains, 2))]
        betas = torch.linspace(0.0, 1.0, self.num_temperatures, dtype=torch.float64, device=states[0].device)
        for beta in betas[1:]:
            states.append(machine.sweep(states[-1], self.num_sweeps, beta).states)
        return {"states": states[-1], "hotter": torch.stack(states[:-1]), "inverse_temperatures": betas}

    @torch.no_grad()
    def sample(self, machine: Machine, state: Mapping[str, Tensor]) -> Samples:
        """The ladders after further rounds; the samples are their chains at the machine's own temperature."""
        machine.check_single()
        betas = state["inverse_temperatures"]
        ladders = torch.cat([state["hotter"], state["states"].unsqueeze(0)])
        shape, count = ladders.shape, ladders.shape[1]
        states, rows = ladders.flatten(0, 1), betas.repeat_interleave(count)
        energies, accepted = list[Tensor](), torch.zeros_like(betas[1:])
        for turn in range(self.num_rounds):
            swept = machine.sweep(states, self.num_sweeps, rows)
            negative_energy = swept.negative_energy.double().reshape(shape[:2])
            energies.append(negative_energy)
            # log of the probability of exchanging with the next colder one
            logs = betas.diff().unsqueeze(-1) * (negative_energy[:-1] - negative_energy[1:])
            accepted = accepted + logs.clamp(max=0.0).exp().mean(-1) / self.num_rounds
            states = swept.states[_exchange(logs, turn % 2).flatten()]
        ladders = states.reshape(shape)
        ratios, error = bridge_log_ratios(betas, torch.stack(energies, -1))
        log_partition = ratios.sum() + machine.units.log_volume(machine.num_units)
        rejected = 1.0 - accepted
        kept = {
            "states": ladders[-1],
            "hotter": ladders[:-1],
            "inverse_temperatures": _equal_rejection(betas, rejected) if self.adapt else betas,
        }
        diagnostics = {"exchange_rates": accepted, "inverse_temperatures": betas, "barrier": rejected.sum()}
        return Samples(kept, LogPartition(log_partition, error, torch.full_like(error, count)), diagnostics)


def _exchange(logs: Tensor, first: int) -> Tensor:
    """Which of the flattened states goes to each place ``[T, N]``, exchanged in the pairs from ``first`` on."""
    pairs, count = logs.shape
    place = torch.arange((pairs + 1) * count, device=logs.device).reshape(pairs + 1, count)
    accept = torch.rand_like(logs).log() < logs
    turn = (torch.arange(pairs, device=logs.device) % 2 == first).unsqueeze(-1)
    accept = accept & turn
    colder = torch.cat([accept, torch.zeros_like(accept[:1])])  # takes the state of the colder one
    hotter = torch.cat([torch.zeros_like(accept[:1]), accept])
    return place + count * (colder.long() - hotter.long())


def _equal_rejection(betas: Tensor, rejected: Tensor) -> Tensor:
    """Temperatures at equal steps of the barrier, interpolated between those that there are; half of the way there."""
    barrier = torch.cat([torch.zeros_like(rejected[:1]), (rejected + LEAST_REJECTION).cumsum(0)])
    wanted = barrier[-1] * torch.linspace(0.0, 1.0, len(betas), dtype=betas.dtype, device=betas.device)
    above = torch.searchsorted(barrier, wanted).clamp(1, len(betas) - 1)
    low, high = barrier[above - 1], barrier[above]
    moved = betas[above - 1] + (betas[above] - betas[above - 1]) * (wanted - low) / (high - low)
    ends = torch.zeros_like(betas, dtype=torch.bool)
    ends[0], ends[-1] = True, True
    return torch.where(ends, betas, 0.5 * (betas + moved))
