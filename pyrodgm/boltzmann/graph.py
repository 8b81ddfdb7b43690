"""Graphs of couplings between units."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.boltzmann.coloring import check_coloring, greedy_coloring
from pyrodgm.boltzmann.elimination_order import EliminationOrder, min_fill_order

if TYPE_CHECKING:
    import networkx


class Block(NamedTuple):
    """Units of one colour: their places, the places of their neighbours, and where those of each unit begin."""

    rows: slice
    neighbours: Tensor
    offsets: Tensor


class Layout(NamedTuple):
    """Indices of a graph whose units are sorted by colour, on one device.

    Attributes:
        order: The units sorted by colour, ``[n]``.
        position: Place of each unit in ``order``, ``[n]``.
        neighbours: Places of the neighbours of the units in ``order``, side by side, ``[2 E]``.
        edge_of: The edge to each of these, ``[2 E]``.
        offsets: Where the neighbours of each unit begin, ``[n]``.
        blocks: The same colour by colour.
        later: Places of the neighbours that come later than the unit itself, ``[E]``.
        later_edge: The edge to each of these, ``[E]``.
        later_offsets: Where those of each unit begin, ``[n]``.
    """

    order: Tensor
    position: Tensor
    neighbours: Tensor
    edge_of: Tensor
    offsets: Tensor
    blocks: tuple[Block, ...]
    later: Tensor
    later_edge: Tensor
    later_offsets: Tensor


class Graph:
    r"""Which units of a Boltzmann machine are coupled, and a colouring by which they are sampled.

    .. math:: -E(z) = \sum_{e = (i, j)} w_e z_i z_j + \sum_i b_i z_i, \qquad z \in \{0, 1\}^n

    Units of one colour are independent given the others, so that a sweep of Gibbs sampling draws them together. Two
    full layers are better served by :class:`BipartiteMachine`, whose sweeps are dense matrix products.

    Args:
        num_units: Number of units n, at least 1.
        edges: Pairs of units in 0, ..., n - 1, ``[E, 2]``; coupling e belongs to edge e.
        colors: A colour for each unit, a whole number from 0, that differs between coupled units; found by
            :func:`greedy_coloring` if not given.
        labels: A name for each unit, for samplers that want names; its number if not given.

    Attributes:
        edges: ``[E, 2]``, int64, the lower number first.
        colors: ``[n]``, int64.

    Raises:
        ValueError: If an edge joins a unit to itself, comes twice or names a unit that does not exist; if the colours
            are no colouring, or labels are too few or come twice.

    Example:
        >>> ring = Graph(4, [(0, 1), (1, 2), (2, 3), (3, 0)])
        >>> ring.num_colors, ring.order_of_elimination.width
        (2, 2)
    """

    def __init__(
        self,
        num_units: int,
        edges: Tensor | Iterable[tuple[int, int]],
        colors: Tensor | Sequence[int] | None = None,
        labels: Sequence[Hashable] | None = None,
    ) -> None:
        self.num_units = whole_number("num_units", num_units)
        self.edges = _checked_edges(self.num_units, edges)
        if colors is None:
            colors = greedy_coloring(self.num_units, list(map(tuple, self.edges.tolist())))
        self.colors = torch.as_tensor(colors).cpu()
        check_coloring(self.colors, self.num_units, self.edges)
        self.labels = tuple(range(self.num_units)) if labels is None else tuple(labels)
        if len(set(self.labels)) != self.num_units or len(self.labels) != self.num_units:
            raise ValueError(f"labels must be {self.num_units} different names, got {len(set(self.labels))}")
        self._layouts: dict[torch.device, Layout] = {}
        self._tails: dict[int, tuple[Graph, Tensor]] = {}
        self._of_states: dict[int, Graph] = {}

    @classmethod
    def complete(cls, num_units: int) -> "Graph":
        """The graph in which every unit is coupled to every other; a sweep draws them one by one.

        >>> len(Graph.complete(5).edges)
        10
        """
        num_units = whole_number("num_units", num_units)
        return cls(num_units, torch.combinations(torch.arange(num_units)), torch.arange(num_units))

    @classmethod
    def bipartite(cls, left: int, right: int) -> "Graph":
        """The graph in which every unit of one layer is coupled to every unit of the other; edges row by row.

        >>> Graph.bipartite(2, 3).colors
        tensor([0, 0, 1, 1, 1])
        """
        left, right = whole_number("left", left), whole_number("right", right)
        edges = torch.cartesian_prod(torch.arange(left), left + torch.arange(right))
        return cls(left + right, edges, [0] * left + [1] * right)

    @classmethod
    def from_networkx(cls, graph: "networkx.Graph[Hashable]", colors: Sequence[int] | None = None) -> "Graph":
        """The graph of a ``networkx.Graph``, as of ``dwave_networkx.zephyr_graph``; units in the order of its nodes.

        Args:
            graph: Undirected; its nodes become ``labels``.
            colors: As in :class:`Graph`, in the order of the nodes.

        Raises:
            ValueError: If the graph is directed or has edges from a node to itself.
        """
        if graph.is_directed() or graph.is_multigraph():
            raise ValueError(f"graph must be undirected with single edges, got a {type(graph).__name__}")
        labels = list(graph.nodes)
        number = {label: i for i, label in enumerate(labels)}
        return cls(len(labels), [(number[a], number[b]) for a, b in graph.edges], colors, labels)

    def __repr__(self) -> str:
        return f"Graph({self.num_units} units, {len(self.edges)} edges, {self.num_colors} colours)"

    @property
    def num_colors(self) -> int:
        """Number of colours: the steps of a sweep."""
        return len(self.color_sizes)

    @cached_property
    def color_sizes(self) -> list[int]:
        """Number of units of each colour that has any, in increasing order of colours."""
        return self.colors.unique(return_counts=True)[1].tolist()

    @cached_property
    def color_degrees(self) -> list[int]:
        """Number of neighbours of the units of each colour, together."""
        used, number = self.colors.unique(return_inverse=True)
        degrees = torch.bincount(self.edges.flatten(), minlength=self.num_units)
        return torch.zeros(len(used), dtype=torch.int64).index_add(0, number, degrees).tolist()

    @cached_property
    def order_of_elimination(self) -> EliminationOrder:
        """In which order units are summed out, and how large the tables get."""
        return min_fill_order(self.num_units, list(map(tuple, self.edges.tolist())))

    def tail(self, begin: int) -> tuple["Graph", Tensor]:
        """The graph of the units from ``begin`` on, at least one, and which edges are theirs."""
        if begin not in self._tails:
            own = (self.edges >= begin).all(1).nonzero().squeeze(1)
            self._tails[begin] = Graph(self.num_units - begin, self.edges[own] - begin, self.colors[begin:]), own
        return self._tails[begin]

    def of_states(self, num_states: int) -> "Graph":
        """The graph of the columns of Potts units: a node for each state of each unit, joined where units are."""
        if num_states == 1:
            return self
        if num_states not in self._of_states:
            states = torch.arange(num_states)
            pairs = torch.cartesian_prod(states, states)
            edges = (self.edges.unsqueeze(1) * num_states + pairs).flatten(0, 1)
            colors = self.colors.repeat_interleave(num_states)
            self._of_states[num_states] = Graph(self.num_units * num_states, edges, colors)
        return self._of_states[num_states]

    def layout(self, device: torch.device) -> Layout:
        """Indices sorted by colour, made once for each device."""
        if device not in self._layouts:
            self._layouts[device] = self._make_layout(device)
        return self._layouts[device]

    def _make_layout(self, device: torch.device) -> Layout:
        order = self.colors.argsort(stable=True)
        position = order.argsort()
        number = torch.arange(len(self.edges))
        ends = position[self.edges]
        rows, places, edge_of = (
            torch.cat([ends[:, 0], ends[:, 1]]),
            torch.cat([ends[:, 1], ends[:, 0]]),
            number.repeat(2),
        )
        by_row = rows.argsort(stable=True)
        low, high = ends.amin(1), ends.amax(1)
        by_low = low.argsort(stable=True)
        neighbours, offsets = places[by_row].int().to(device), _begins(rows, self.num_units).to(device)
        return Layout(
            order.to(device),
            position.to(device),
            neighbours,
            edge_of[by_row].to(device),
            offsets,
            tuple(_blocks(neighbours, offsets, self.color_sizes, self.color_degrees)),
            high[by_low].int().to(device),
            number[by_low].to(device),
            _begins(low, self.num_units).to(device),
        )


def _begins(rows: Tensor, num_units: int) -> Tensor:
    counts = torch.bincount(rows, minlength=num_units)
    return (counts.cumsum(0) - counts).int()


def _blocks(neighbours: Tensor, offsets: Tensor, sizes: list[int], degrees: list[int]) -> Iterator[Block]:
    row = 0
    for own, begins, units in zip(neighbours.split(degrees), offsets.split(sizes), sizes, strict=True):
        yield Block(slice(row, row + units), own, begins - begins[0])
        row += units


def _checked_edges(num_units: int, edges: Tensor | Iterable[tuple[int, int]]) -> Tensor:
    try:
        pairs = edges if isinstance(edges, Tensor) else torch.tensor([tuple(e) for e in edges], dtype=torch.float64)
    except (TypeError, ValueError):
        raise TypeError(f"edges must be pairs of units, got {edges!r}") from None
    pairs = pairs.detach().cpu()
    if pairs.numel() == 0:
        return torch.zeros(0, 2, dtype=torch.int64)
    if pairs.dim() != 2 or pairs.shape[1] != 2:
        raise ValueError(f"edges must have shape [E, 2], got {list(pairs.shape)}")
    whole = pairs.long()
    if (whole != pairs).any() or (whole < 0).any() or (whole >= num_units).any():
        raise ValueError(f"edges must join units in 0, ..., {num_units - 1}, got {pairs.min():g} to {pairs.max():g}")
    whole = whole.sort(1).values
    loops = whole[:, 0] == whole[:, 1]
    if loops.any():
        raise ValueError(f"edges must join two units, got unit {int(whole[loops][0, 0])} joined to itself")
    if len(whole.unique(dim=0)) != len(whole):
        raise ValueError(f"edges must come once each, got {len(whole) - len(whole.unique(dim=0))} of them again")
    return whole
