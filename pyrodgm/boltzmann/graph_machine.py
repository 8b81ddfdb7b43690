"""The machine on any graph."""

from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import real_tensors, validated, whole_number
from pyrodgm.boltzmann.annealed_importance import LogPartition, anneal_from_independent_units
from pyrodgm.boltzmann.elimination import check_width, eliminate, log2_of_largest_table, sample_by_elimination
from pyrodgm.boltzmann.elimination_order import FAST_WIDTH
from pyrodgm.boltzmann.energy import check_states
from pyrodgm.boltzmann.graph import Graph
from pyrodgm.boltzmann.graph_kernels import (
    all_fields,
    from_columns,
    negative_energy_of_columns,
    to_columns,
    visit_colors,
)
from pyrodgm.boltzmann.machine import Machine, Swept
from pyrodgm.boltzmann.units import BITS, Units, require_units

CHUNK = 2**24  # numbers in a product over edges, at most


class GraphMoments(NamedTuple):
    """The gradient of log Z of a machine on a graph.

    Attributes:
        couplings: E[z_i z_j] of each edge, ``[*batch, E]``; of Potts units for each pair of states,
            ``[*batch, E, K, K]``.
        biases: E[z], ``[*batch, n]``.
    """

    couplings: Tensor
    biases: Tensor


@final
class GraphMachine(Machine):
    r"""Units in {0, 1}, or of K states, that are coupled along the edges of a graph.

    .. math:: -E(z) = \sum_{e = (i, j)} w_e z_i z_j + \sum_i b_i z_i, \qquad\text{or}\qquad
              \sum_{e = (i, j)} \sum_{a, b} w_{eab}\, z_{ia} z_{jb} + \sum_{i, a} b_{ia} z_{ia}

    A sweep draws the units colour by colour, each colour by one gathered product over the edges to it: it costs
    ``2 E N`` multiplications and ``n N`` random numbers for N states, with Potts units ``2 E K^2 N`` and ``n K N``.
    Exact sums eliminate unit by unit, where the graph has an order of width at most 20, or 20 / log2 K.

    Args:
        graph: Which units are coupled.
        couplings: ``[E]``, real; w, in the order of ``graph.edges``. For Potts units ``[E, K, K]``: rows are states of
            the unit with the lower number.
        biases: ``[*batch, n]``, real; b. For Potts units ``[*batch, n K]``, the states of a unit side by side.
        units: ``Bits()`` or ``Potts(K)``.
        check: Whether to look at shapes and values.

    Raises:
        ValueError: If the shapes do not fit, or values are not finite.

    Example:
        >>> ring = Graph(4, [(0, 1), (1, 2), (2, 3), (3, 0)])
        >>> machine = GraphMachine(ring, torch.zeros(4), torch.zeros(4))
        >>> machine.log_partition()  # 4 log 2
        tensor(2.7726)
    """

    def __init__(
        self, graph: Graph, couplings: Tensor, biases: Tensor, units: Units = BITS, *, check: bool = True
    ) -> None:
        if check:
            _check(graph, couplings, biases, units)
        self.graph, self.couplings, self._biases, self._units = graph, couplings, biases, units
        self._columns_graph = graph.of_states(units.width)

    @property
    def _flat(self) -> Tensor:
        return self._flattened(self.couplings)

    def _flattened(self, couplings: Tensor) -> Tensor:
        """One coupling for each pair of columns, ``[*batch, E K^2]``."""
        return couplings if self._units.width == 1 else couplings.flatten(-3)

    @property
    def parameters(self) -> tuple[Tensor, Tensor]:
        return self.couplings, self._biases

    @property
    def batch_shape(self) -> torch.Size:
        return self._biases.shape[:-1]

    @property
    def num_units(self) -> int:
        return self.graph.num_units * self._units.width

    @property
    def units(self) -> Units:
        return self._units

    @property
    def biases(self) -> Tensor:
        return self._biases

    def _edges(self) -> Tensor:
        return self._columns_graph.edges.to(self.couplings.device)

    def coupling_matrix(self) -> Tensor:
        first, second = self._edges().unbind(1)
        upper = self.couplings.new_zeros(self.num_units, self.num_units).index_put((first, second), self._flat)
        return upper + upper.mT

    def replace(self, *parameters: Tensor) -> "GraphMachine":
        couplings, biases = parameters
        return GraphMachine(self.graph, couplings, biases, self._units)

    def expand(self, batch_shape: torch.Size) -> "GraphMachine":
        biases = self._biases.expand((*batch_shape, self.num_units))
        return GraphMachine(self.graph, self.couplings, biases, self._units, check=False)

    def detach(self) -> "GraphMachine":
        couplings, biases = (t.detach() for t in self.parameters)
        return GraphMachine(self.graph, couplings, biases, self._units, check=False)

    def __repr__(self) -> str:
        return f"GraphMachine({self.graph}{'' if self._units == BITS else f', {self._units!r}'})"

    def shifted(self, biases: Tensor) -> "GraphMachine":
        return GraphMachine(self.graph, self.couplings, self._biases + biases, self._units, check=False)

    def negative_energy(self, states: Tensor) -> Tensor:
        check_states("states", states, self.num_units)
        first, second = self._edges().unbind(1)
        states = states.to(torch.promote_types(states.dtype, self.couplings.dtype))
        pairs = states.index_select(-1, first) * states.index_select(-1, second)
        return pairs @ self._flat.to(pairs.dtype) + (states * self._biases).sum(-1)

    def fields(self, states: Tensor) -> Tensor:
        check_states("states", states, self.num_units)
        first, second = self._edges().unbind(1)
        shape = torch.broadcast_shapes(states.shape, self._biases.shape)
        states = states.to(torch.promote_types(states.dtype, self.couplings.dtype))
        to_first = states.index_select(-1, second) * self._flat
        to_second = states.index_select(-1, first) * self._flat
        field = torch.zeros_like(states).index_add(-1, first, to_first).index_add(-1, second, to_second)
        return (field + self._biases).expand(shape)

    def log_marginal(self, visible: Tensor) -> Tensor:
        count = visible.shape[-1]
        self._units.check_columns("visible", count)
        hidden, edges = self.graph.tail(count // self._units.width)
        states = torch.cat([visible, visible.new_zeros((*visible.shape[:-1], self.num_units - count))], -1)
        fields = self.fields(states)[..., count:]
        if len(edges):
            couplings = self.couplings[edges.to(self.couplings.device)]
            log_sum = GraphMachine(hidden, couplings, fields, self._units, check=False).log_partition()
        else:
            log_sum = self._units.log_partition(fields).sum(-1)
        return self.negative_energy(states) + log_sum

    def can_sum(self, fast: bool = False) -> bool:
        order = self.graph.order_of_elimination
        return log2_of_largest_table(self.graph, self._units.width) <= (FAST_WIDTH if fast else order.limit)

    def log_partition(self) -> Tensor:
        return eliminate(self.graph, *self.parameters, self._units.width)[0]

    def exact_moments(self) -> GraphMoments:
        check_width(self.graph, self._units.width)
        with torch.enable_grad():
            couplings = self.couplings.detach().expand(self.batch_shape + self.couplings.shape).requires_grad_()
            biases = self._biases.detach().requires_grad_()
            total = eliminate(self.graph, couplings, biases, self._units.width)[0].sum()
            gradients = torch.autograd.grad(total, [couplings, biases], materialize_grads=True)
        return GraphMoments(*gradients)

    @torch.no_grad()
    def exact_samples(self, num_samples: int) -> Tensor:
        num_samples = whole_number("num_samples", num_samples, 0)
        tables = eliminate(self.graph, *self.parameters, self._units.width)[1]
        return sample_by_elimination(self.graph, tables, num_samples, self._units.width)

    def mean_field(self, num_iterations: int = 5) -> Tensor:
        shape = torch.Size([*self.batch_shape, self.num_units])
        with torch.no_grad():
            means = self._columns(self._units.mean(torch.zeros_like(self._biases)), shape)
            biases, logits = self._columns(self._biases, shape), torch.empty_like(means)

            def mean(field: Tensor, rows: slice) -> Tensor:
                logits[rows] = field
                return self._units.mean(field, 0)

            for _ in range(whole_number("num_iterations", num_iterations)):
                visit_colors(self._columns_graph, self._flat, means, biases, mean)
            entropy = self._units.entropy(logits, 0).sum(0).reshape(self.batch_shape)
        return self.negative_energy(from_columns(self._columns_graph, means, shape)) + entropy

    @torch.no_grad()
    def sweep(
        self,
        states: Tensor | Swept,
        num_sweeps: int = 1,
        beta: Tensor | float = 1.0,
        base: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Swept:
        scale = torch.as_tensor(beta).to(self.couplings)
        own = None if base is None else self._columns(base, base.shape) * (1.0 - scale)

        def temper(field: Tensor, rows: slice) -> Tensor:
            field = field.mul_(scale)
            return field if own is None else field.add_(own[rows])

        states = states.states if isinstance(states, Swept) else states
        states = states if rows is None else states[rows]
        z, biases = self._swept(states, num_sweeps, temper)
        energy = negative_energy_of_columns(self._columns_graph, self._flat, z, biases)
        return Swept((from_columns(self._columns_graph, z, states.shape),), energy.reshape(states.shape[:-1]))

    @torch.no_grad()
    def gibbs(self, states: Tensor, num_sweeps: int = 1) -> Tensor:
        z, _ = self._swept(states, num_sweeps, lambda field, rows: field)
        return from_columns(self._columns_graph, z, states.shape)

    def _swept(
        self, states: Tensor, num_sweeps: int, temper: Callable[[Tensor, slice], Tensor]
    ) -> tuple[Tensor, Tensor]:
        check_states("states", states, self.num_units)
        z, biases = self._columns(states, states.shape), self._columns(self._biases, states.shape)
        for _ in range(whole_number("num_sweeps", num_sweeps)):
            noise = self._units.noise(z, 0)  # of all colours at once, in fewer operations

            def draw(field: Tensor, rows: slice, noise: Tensor = noise) -> Tensor:
                return self._units.respond(temper(field, rows), noise[rows], 0)

            visit_colors(self._columns_graph, self._flat, z, biases, draw)
        return z, biases

    def _columns(self, values: Tensor, shape: torch.Size) -> Tensor:
        return to_columns(self._columns_graph, values.to(self.couplings.dtype), shape)

    @torch.no_grad()
    def sample_moments(self, states: Tensor, weights: Tensor | None = None) -> GraphMoments:
        check_states("states", states, self.num_units)
        order = self._columns_graph.layout(states.device).position
        z, biases = self._columns(states, states.shape), self._columns(self._biases, states.shape)
        means = self._units.mean(all_fields(self._columns_graph, self._flat, z, biases), 0)
        share = z.new_full((len(states),), 1.0 / len(states)) if weights is None else weights.to(z)
        # either unit may be replaced by its mean given the others: the average of both has less variance
        pairs = [
            ((z[i] * means[j] + means[i] * z[j]) @ share).mul_(0.5)
            for i, j in (order[edges].unbind(1) for edges in self._edges().split(max(1, CHUNK // max(1, len(states)))))
        ]
        return GraphMoments(torch.cat(pairs).reshape(self.couplings.shape), (means @ share)[order])

    def estimate_log_partition(
        self, num_temperatures: int = 1000, num_chains: int = 1024, base: Tensor | None = None
    ) -> LogPartition:
        return anneal_from_independent_units(self, num_temperatures, num_chains, base)

    def attach_moments(self, log_partition: Tensor, moments: tuple[Tensor, ...]) -> Tensor:
        couplings, biases = (m.detach() for m in moments)
        slope = (self._flat * self._flattened(couplings)).sum(-1) + (self._biases * biases).sum(-1)
        return log_partition.detach() + (slope - slope.detach())


def _check(graph: Graph, couplings: Tensor, biases: Tensor, units: Units) -> None:
    if not isinstance(graph, Graph):
        raise TypeError(f"graph must be a Graph, got {graph!r}")
    require_units(units=units)
    if not units.discrete:
        raise ValueError(f"units must be Bits() or Potts(K) on a graph, got {units!r}")
    validated(couplings=couplings, biases=biases)
    real_tensors(couplings=couplings, biases=biases)
    shape = [len(graph.edges)] + ([] if units.width == 1 else [units.width] * 2)
    if list(couplings.shape) != shape:
        raise ValueError(f"couplings must have shape {shape}, one for each edge, got {list(couplings.shape)}")
    columns = graph.num_units * units.width
    if biases.dim() < 1 or biases.shape[-1] != columns:
        raise ValueError(f"biases must have shape [*batch, {columns}], got {list(biases.shape)}")
