"""Machines of units in {-1, 1} as machines of units in {0, 1}, and back."""

from typing import NamedTuple

from torch import Tensor

from pyrodgm.arithmetic.arguments import real_tensors, validated
from pyrodgm.boltzmann.graph import Graph
from pyrodgm.boltzmann.graph_machine import GraphMachine
from pyrodgm.boltzmann.machine import require_bits


class Spins(NamedTuple):
    r"""An Ising machine: the energy of units in {-1, 1}.

    .. math:: -H(s) = \sum_{e = (i, j)} J_e s_i s_j + \sum_i h_i s_i + C, \qquad s \in \{-1, 1\}^n

    Attributes:
        graph: Which units are coupled.
        couplings: J, ``[E]``.
        fields: h, ``[*batch, n]``.
        offset: C, ``[*batch]``, in nats.
    """

    graph: Graph
    couplings: Tensor
    fields: Tensor
    offset: Tensor


def bits_from_spins(graph: Graph, couplings: Tensor, fields: Tensor) -> tuple[GraphMachine, Tensor]:
    r"""The machine of bits :math:`z = (1 + s) / 2` with the probabilities of spins, and what its energy leaves out.

    .. math:: w_e = 4 J_e, \qquad b_i = 2 h_i - 2 \sum_{e \ni i} J_e, \qquad C = \sum_e J_e - \sum_i h_i, \qquad
              \log Z_{\text{spins}} = \log Z_{\text{bits}} + C

    Args:
        graph: Which units are coupled.
        couplings: J, ``[E]``, finite.
        fields: h, ``[*batch, n]``, finite.

    Returns:
        The machine, and C ``[*batch]`` in nats.

    Example:
        >>> import torch
        >>> machine, offset = bits_from_spins(Graph(2, [(0, 1)]), torch.tensor([1.0]), torch.zeros(2))
        >>> machine.log_partition() + offset  # log(2 e + 2 / e)
        tensor(1.8201)
    """
    if not isinstance(graph, Graph):
        raise TypeError(f"graph must be a Graph, got {graph!r}")
    validated(couplings=couplings, fields=fields)
    real_tensors(couplings=couplings, fields=fields)
    if fields.dim() < 1 or fields.shape[-1] != graph.num_units:
        raise ValueError(f"fields must have shape [*batch, {graph.num_units}], got {list(fields.shape)}")
    machine = GraphMachine(graph, couplings, fields)
    biases = 2.0 * fields - 2.0 * _sums_of_edges(graph, couplings, fields)
    offset = couplings.sum() - fields.sum(-1)
    return GraphMachine(machine.graph, 4.0 * couplings, biases), offset


def spins_from_bits(machine: GraphMachine) -> Spins:
    r"""The inverse of :func:`bits_from_spins`: with ``offset`` the energies of spins are those of the bits.

    .. math:: J_e = w_e / 4, \qquad h_i = b_i / 2 + \sum_{e \ni i} w_e / 4, \qquad C = \sum_e w_e / 4 + \sum_i b_i / 2

    Example:
        >>> import torch
        >>> spins_from_bits(GraphMachine(Graph(2, [(0, 1)]), torch.tensor([4.0]), torch.zeros(2))).fields
        tensor([1., 1.])
    """
    if not isinstance(machine, GraphMachine):
        raise TypeError(f"machine must be a GraphMachine, got {machine!r}")
    require_bits(machine)
    couplings, biases = machine.parameters
    quarter = couplings / 4.0
    fields = biases / 2.0 + _sums_of_edges(machine.graph, quarter, biases)
    return Spins(machine.graph, quarter, fields, quarter.sum() + biases.sum(-1) / 2.0)


def _sums_of_edges(graph: Graph, couplings: Tensor, like: Tensor) -> Tensor:
    """For each unit the sum of the couplings to it, ``[n]``."""
    first, second = graph.edges.to(couplings.device).unbind(1)
    return like.new_zeros(graph.num_units).index_add(0, first, couplings).index_add(0, second, couplings)
