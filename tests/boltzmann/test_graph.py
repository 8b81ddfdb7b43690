"""Graphs: colourings that hold, orders of elimination of known width, and inputs that are refused."""

import networkx
import pytest
import torch

from pyrodgm.boltzmann import Graph, GraphMachine, greedy_coloring


def ring(n):
    return [(i, (i + 1) % n) for i in range(n)]


@pytest.mark.parametrize(
    ("graph", "colors"),
    [
        (networkx.path_graph(9), 2),
        (networkx.cycle_graph(9), 3),
        (networkx.complete_bipartite_graph(7, 5), 2),
        (networkx.hexagonal_lattice_graph(4, 5), 2),  # bipartite, labels are pairs
        (networkx.complete_graph(6), 6),
        (networkx.petersen_graph(), 3),
        (networkx.random_regular_graph(5, 60, seed=0), 6),
    ],
    ids=str,
)
def test_colouring_is_proper_and_small(graph, colors):
    made = Graph.from_networkx(graph)
    first, second = made.edges.unbind(1)
    assert (made.colors[first] != made.colors[second]).all()
    assert made.num_colors <= colors
    assert sum(made.color_sizes) == made.num_units == len(graph)
    assert made.labels == tuple(graph.nodes)
    assert {frozenset((made.labels[i], made.labels[j])) for i, j in made.edges.tolist()} == set(
        map(frozenset, graph.edges)
    )


@pytest.mark.parametrize(
    ("graph", "width"),
    [
        (networkx.random_labeled_tree(40, seed=1), 1),
        (networkx.cycle_graph(12), 2),
        (networkx.complete_graph(7), 6),
        (networkx.complete_bipartite_graph(4, 30), 4),
        (networkx.grid_2d_graph(4, 20), 4),
        (networkx.empty_graph(5), 0),
    ],
    ids=["tree", "ring", "full", "bipartite", "grid", "empty"],
)
def test_elimination_finds_known_treewidths(graph, width):
    order = Graph.from_networkx(graph).order_of_elimination
    assert order.width == width
    assert order.feasible
    assert sorted(order.units) == list(range(len(graph)))


def test_wide_graphs_are_given_up_early():
    order = Graph.complete(100).order_of_elimination
    assert not order.feasible
    assert order.width == 99
    assert "at least 99" in refusal(Graph.complete(100))


def refusal(graph):
    machine = GraphMachine(graph, torch.zeros(len(graph.edges)), torch.zeros(graph.num_units))
    messages = []
    for sum_ in (machine.log_partition, machine.exact_moments, lambda: machine.exact_samples(3)):
        with pytest.raises(ValueError, match="width at most 20 for exact sums") as error:
            sum_()
        messages.append(str(error.value))
    assert len(set(messages)) == 1
    return messages[0]


def test_colours_of_ones_own_and_refusals():
    assert Graph(4, ring(4), [5, 2, 5, 2]).color_sizes == [2, 2]
    assert Graph.bipartite(2, 3).num_colors == 2
    assert torch.equal(Graph.bipartite(2, 2).edges, torch.tensor([[0, 2], [0, 3], [1, 2], [1, 3]]))
    assert torch.equal(Graph(3, [(2, 0)]).edges, torch.tensor([[0, 2]]))
    assert greedy_coloring(3, []) == [0, 0, 0]
    for arguments, message in [
        ((0, []), "num_units must be at least 1, got 0"),
        ((3, [(0, 3)]), r"edges must join units in 0, ..., 2, got 0 to 3"),
        ((3, [(0, -1)]), r"edges must join units in 0, ..., 2, got -1 to 0"),
        ((3, [(0, 0.5)]), "edges must join units"),
        ((3, [(1, 1)]), "edges must join two units, got unit 1 joined to itself"),
        ((3, [(0, 1), (1, 0)]), "edges must come once each, got 1 of them again"),
        ((3, torch.zeros(2, 3)), r"edges must have shape \[E, 2\], got \[2, 3\]"),
        ((3, [(0, 1)], [0, 0, 1]), "colors must differ where units are coupled, got 0 for both 0 and 1"),
        ((3, [(0, 1)], [0, 1]), r"colors must be a whole number .* 3 units, got shape \[2\]"),
        ((3, [(0, 1)], [0.0, 1.0, 0.0]), "colors must be a whole number"),
        ((3, [(0, 1)], None, ["a", "b", "a"]), "labels must be 3 different names, got 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            Graph(*arguments)
    with pytest.raises(ValueError, match="graph must be undirected with single edges, got a DiGraph"):
        Graph.from_networkx(networkx.DiGraph([(0, 1)]))


def test_graphs_of_annealers():
    dwave_graphs = pytest.importorskip("dwave.graphs")
    chimera = Graph.from_networkx(dwave_graphs.chimera_graph(2))
    assert (chimera.num_units, len(chimera.edges), chimera.num_colors) == (32, 80, 2)
    assert chimera.order_of_elimination.feasible
    zephyr = dwave_graphs.zephyr_graph(2)
    own = dwave_graphs.zephyr_four_color
    assert Graph.from_networkx(zephyr).num_colors <= 6
    colors = [own(node) for node in dwave_graphs.zephyr_graph(2, coordinates=True)]
    assert Graph.from_networkx(dwave_graphs.zephyr_graph(2, coordinates=True), colors).num_colors == 4
    assert Graph.from_networkx(dwave_graphs.pegasus_graph(2)).num_colors <= 5
