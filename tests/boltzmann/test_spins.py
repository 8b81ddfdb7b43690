"""Spins and bits are one machine: energies, partition functions and moments of all states."""

import pytest
import torch
from boltzmann_machines import all_states, random_graph_machine

from pyrodgm.boltzmann import Graph, bits_from_spins, spins_from_bits

GRAPH = Graph(5, [(0, 1), (1, 2), (2, 0), (2, 3)])


def test_spins_become_bits_with_the_same_energies_and_back():
    couplings, fields = torch.randn(4), torch.randn(3, 5)
    spins = 2.0 * all_states(5) - 1.0
    energy = spins @ fields.mT
    for weight, (i, j) in zip(couplings, GRAPH.edges.tolist(), strict=True):
        energy = energy + (weight * spins[:, i] * spins[:, j])[:, None]
    machine, offset = bits_from_spins(GRAPH, couplings, fields)
    torch.testing.assert_close(machine.negative_energy(all_states(5)[:, None]) + offset, energy)
    torch.testing.assert_close(machine.log_partition() + offset, energy.logsumexp(0))
    torch.testing.assert_close(2.0 * machine.exact_moments().biases - 1.0, energy.softmax(0).mT @ spins)
    back = spins_from_bits(machine)
    torch.testing.assert_close(back.couplings, couplings)
    torch.testing.assert_close(back.fields, fields)
    torch.testing.assert_close(back.offset, -offset)


def test_bits_become_spins_with_the_same_energies():
    machine = random_graph_machine(GRAPH, 2.0)
    there = spins_from_bits(machine)
    again, offset = bits_from_spins(there.graph, there.couplings, there.fields)
    for a, b in zip(again.parameters, machine.parameters, strict=True):
        torch.testing.assert_close(a, b)
    assert (offset + there.offset).abs() < 1e-12
    with pytest.raises(ValueError, match=r"couplings must have shape \[4\]"):
        bits_from_spins(GRAPH, torch.zeros(3), torch.zeros(5))
    with pytest.raises(ValueError, match="fields must be finite"):
        bits_from_spins(GRAPH, torch.zeros(4), torch.full((5,), torch.nan))
