"""Machines that the tests share, and sums over all joint states to hold them against."""

import itertools

import torch

from pyrodgm.boltzmann import GraphMachine


def random_machine(left, right, coupling=1.0, seed=0, dtype=torch.float64):
    """Normal couplings, centred so that the units are balanced whatever the coupling."""
    generator = torch.Generator().manual_seed(seed)
    weights = coupling * torch.randn(left, right, generator=generator, dtype=torch.float64)
    left_bias = 0.3 * torch.randn(left, generator=generator, dtype=torch.float64) - 0.5 * weights.sum(1)
    right_bias = 0.3 * torch.randn(right, generator=generator, dtype=torch.float64) - 0.5 * weights.sum(0)
    return tuple(t.to(dtype) for t in (weights, left_bias, right_bias))


def ferromagnet(units, coupling, field):
    """Two modes, all units on and all off; the field makes the first the likelier."""
    bias = torch.full((units,), -0.5 * coupling * units + field)
    return torch.full((units, units), coupling), bias, bias.clone()


def joint_states(left, right):
    """All states, ``[2^(L+R), L]`` and ``[2^(L+R), R]``."""
    states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=left + right)))
    return states[:, :left], states[:, left:]


def brute_force(weights, left_bias, right_bias):
    """Joint states, their probabilities and log Z, with nothing summed in closed form."""
    left, right = joint_states(*weights.shape)
    energy = torch.zeros(len(left))
    for i in range(len(left_bias)):
        energy += left[:, i] * left_bias[i]
        for j in range(len(right_bias)):
            energy += left[:, i] * weights[i, j] * right[:, j]
    for j in range(len(right_bias)):
        energy += right[:, j] * right_bias[j]
    return left, right, energy.softmax(0), energy.logsumexp(0)


def all_states(units):
    """All states, ``[2^n, n]``, the last unit changing fastest."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=units)))


def random_graph_machine(graph, coupling=1.0, seed=0):
    """Normal couplings, and biases that balance the units but for a random field."""
    generator = torch.Generator().manual_seed(seed)
    couplings = coupling * torch.randn(len(graph.edges), generator=generator)
    biases = 0.3 * torch.randn(graph.num_units, generator=generator)
    for k in (0, 1):
        biases.index_add_(0, graph.edges[:, k], -0.5 * couplings)
    return GraphMachine(graph, couplings, biases)
