"""Sweeps over the units of a graph, colour by colour: chains are columns, and the units are sorted by colour."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from pyrodgm.boltzmann.graph import Graph


def to_columns(graph: Graph, values: Tensor, shape: torch.Size) -> Tensor:
    """Values ``[*, n]`` expanded to ``shape`` as ``[n, N]`` with the units sorted by colour; ``[n]`` as ``[n, 1]``."""
    order = graph.layout(values.device).order
    if values.dim() == 1 and len(shape) > 1:
        return values[order].unsqueeze(-1)
    return values.expand(shape).reshape(-1, graph.num_units).t().contiguous().index_select(0, order)


def from_columns(graph: Graph, columns: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of :func:`to_columns`: ``[*, n]``."""
    return columns.index_select(0, graph.layout(columns.device).position).t().reshape(shape)


def weighted_neighbours(columns: Tensor, neighbours: Tensor, offsets: Tensor, couplings: Tensor) -> Tensor:
    """For each unit the sum of its neighbours' rows times their couplings, ``[units, N]``; no product is kept."""
    return embedding_bag(neighbours, columns, offsets, mode="sum", per_sample_weights=couplings)


def visit_colors(
    graph: Graph,
    couplings: Tensor,
    columns: Tensor,
    biases: Tensor,
    update: Callable[[Tensor, slice], Tensor],
) -> None:
    """Replace the rows of each colour in turn, in place, by what ``update`` makes of their fields and their place."""
    layout = graph.layout(columns.device)
    own = couplings.index_select(0, layout.edge_of).split(graph.color_degrees)
    for block, coupled in zip(layout.blocks, own, strict=True):
        field = weighted_neighbours(columns, block.neighbours, block.offsets, coupled).add_(biases[block.rows])
        columns[block.rows] = update(field, block.rows)


def all_fields(graph: Graph, couplings: Tensor, columns: Tensor, biases: Tensor) -> Tensor:
    """Log-odds of each unit given the others, ``[n, N]`` with the units sorted by colour."""
    layout = graph.layout(columns.device)
    field = weighted_neighbours(columns, layout.neighbours, layout.offsets, couplings.index_select(0, layout.edge_of))
    return field.add_(biases)


def negative_energy_of_columns(graph: Graph, couplings: Tensor, columns: Tensor, biases: Tensor) -> Tensor:
    """Minus the energy of each column, ``[N]``; each edge is gathered once."""
    layout = graph.layout(columns.device)
    own = couplings.index_select(0, layout.later_edge)
    field = weighted_neighbours(columns, layout.later, layout.later_offsets, own)
    return field.add_(biases).mul_(columns).sum(0)
