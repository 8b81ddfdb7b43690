"""Colourings of graphs: units of one colour have no coupling and are drawn together."""

import heapq
from collections.abc import Iterable, Sequence

from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_number


def greedy_coloring(num_units: int, edges: list[tuple[int, int]]) -> list[int]:
    """A colour for each unit such that no edge joins two of the same, by saturation.

    Next comes the unit with most colours among its neighbours, of these the one with most neighbours, and takes the
    least colour that none of them has. A bipartite graph gets two colours.

    Args:
        num_units: Number of units n.
        edges: Pairs of units in 0, ..., n - 1.

    Returns:
        A colour in 0, 1, ... for each unit.

    Source: Brélaz (1979), "New methods to color the vertices of a graph", Communications of the ACM 22, 251.

    Example:
        >>> greedy_coloring(4, [(0, 1), (1, 2), (2, 3), (3, 0)])
        [0, 1, 0, 1]
    """
    neighbours: list[list[int]] = [[] for _ in range(whole_number("num_units", num_units))]
    if not isinstance(edges, Iterable) or not all(isinstance(edge, Sequence) and len(edge) == 2 for edge in edges):
        raise TypeError(f"edges must be pairs of units, got {edges!r}")
    for i, j in edges:
        if not 0 <= i < num_units or not 0 <= j < num_units:
            raise ValueError(f"edges must join units in 0, ..., {num_units - 1}, got {(i, j)}")
        neighbours[i].append(j)
        neighbours[j].append(i)
    colors = [-1] * num_units
    around: list[set[int]] = [set() for _ in range(num_units)]
    queue = [(0, -len(neighbours[i]), i) for i in range(num_units)]
    heapq.heapify(queue)
    while queue:
        saturation, _, unit = heapq.heappop(queue)
        if colors[unit] >= 0 or -saturation != len(around[unit]):
            continue  # an entry that is out of date
        colors[unit] = next(c for c in range(len(around[unit]) + 1) if c not in around[unit])
        for other in neighbours[unit]:
            if colors[other] < 0 and colors[unit] not in around[other]:
                around[other].add(colors[unit])
                heapq.heappush(queue, (-len(around[other]), -len(neighbours[other]), other))
    return colors


def check_coloring(colors: Tensor, num_units: int, edges: Tensor) -> None:
    """Refuse colours that are not one number for each unit, or that two coupled units share.

    Raises:
        ValueError: Names the argument, what came and what was expected.
    """
    if colors.shape != (num_units,) or colors.is_floating_point() or (colors < 0).any():
        raise ValueError(
            f"colors must be a whole number from 0 for each of the {num_units} units, got shape {list(colors.shape)}, "
            f"{colors.dtype}"
        )
    shared = colors[edges[:, 0]] == colors[edges[:, 1]]
    if shared.any():
        i, j = edges[shared][0].tolist()
        raise ValueError(f"colors must differ where units are coupled, got {int(colors[i])} for both {i} and {j}")
