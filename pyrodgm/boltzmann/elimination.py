"""Log-partition function and exact samples of a machine on a graph, by summing out one unit after another."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyrodgm.boltzmann.graph import Graph
from pyrodgm.boltzmann.potts import columns_of


class _Factor(NamedTuple):
    scope: list[int]  # in the order of elimination
    table: Tensor  # [*batch, K, ..., K], a dimension for each unit of the scope


def log2_of_largest_table(graph: Graph, width: int) -> float:
    """The number of bits that have as many states as the largest message of units of ``width`` columns."""
    return graph.order_of_elimination.width * math.log2(max(2, width))


def check_width(graph: Graph, width: int) -> None:
    """Refuse a graph whose exact sums would take too large tables.

    Raises:
        ValueError: Names the width and the limit.
    """
    order = graph.order_of_elimination
    if log2_of_largest_table(graph, width) > order.limit:
        limit = int(order.limit / math.log2(max(2, width)))
        raise ValueError(
            f"graph must have an elimination order of width at most {limit} for exact sums, got at least "
            f"{order.width} for {graph}"
        )


def eliminate(graph: Graph, couplings: Tensor, biases: Tensor, width: int = 1) -> tuple[Tensor, list[Tensor]]:
    r"""Log Z, and the log-odds of each unit given the later ones, by summing units out in the order of the graph.

    .. math:: m_i(z_{S_i}) = \log \sum_{z_i} \exp\Bigl(b_i z_i + \sum_{j} w_{ij} z_i z_j
              + \sum_k m_k(z_i, z_{S_k \setminus i})\Bigr)

    over the units k that were summed out before with i in their scope first. All tables are logarithms.

    Args:
        graph: Its elimination order has a width within the limit.
        couplings: ``[*batch, E]``, real; of units of K states ``[*batch, E, K, K]``.
        biases: ``[*batch, n]``, real; of units of K states ``[*batch, n K]``.
        width: Columns of a unit: 1 for units in {0, 1}, otherwise K.

    Returns:
        Log Z in nats, ``[*batch]``, differentiable; and for each unit in the order of elimination its log-odds against
        its first state given its scope, ``[*batch, K - 1, K, ..., K]``, where K is 2 for units in {0, 1}.
    """
    check_width(graph, width)
    order, states = graph.order_of_elimination, max(2, width)
    if width > 1:
        biases = biases.unflatten(-1, (-1, width))
    batch = torch.broadcast_shapes(couplings.shape[: -3 if width > 1 else -1], biases.shape[: -2 if width > 1 else -1])
    place = {unit: k for k, unit in enumerate(order.units)}
    pairs: list[list[tuple[int, int, bool]]] = [[] for _ in order.units]  # of each: a later one, their edge, if turned
    for e, (i, j) in enumerate(graph.edges.tolist()):
        first, second = (i, j) if place[i] < place[j] else (j, i)
        pairs[place[first]].append((second, e, first == j))
    waiting: list[list[_Factor]] = [[] for _ in order.units]
    total, log_odds = couplings.new_zeros(batch), []
    for k, (unit, scope) in enumerate(zip(order.units, order.scopes, strict=True)):
        # a list of tables over the scope, one for each state of the unit
        tables = _of_unit(biases, unit, width, len(scope))
        for other, e, turned in pairs[k]:
            own = _of_pair(couplings, e, turned, width)
            tables = [a if b is None else a + _as_table(b, [other], scope) for a, b in zip(tables, own, strict=True)]
        for factor in waiting[k]:
            parts = factor.table.unbind(len(factor.table.shape) - len(factor.scope))
            tables = [a + _as_table(b, factor.scope[1:], scope) for a, b in zip(tables, parts, strict=True)]
        waiting[k] = []
        shape = batch + (states,) * len(scope)
        log_odds.append(torch.stack([(table - tables[0]).expand(shape) for table in tables[1:]], len(batch)))
        message = torch.logaddexp(*tables) if states == 2 else _log_sum(tables)
        message = message.expand(shape)
        if scope:
            waiting[place[scope[0]]].append(_Factor(scope, message))
        else:
            total = total + message
    return total, log_odds


def sample_by_elimination(graph: Graph, log_odds: list[Tensor], num_samples: int, width: int = 1) -> Tensor:
    """Independent exact samples ``[N, *batch, n]``, units drawn in the reverse order of their elimination."""
    order, states = graph.order_of_elimination, max(2, width)
    batch = log_odds[-1].shape[:-1]  # the last unit depends on none
    like = log_odds[-1]
    drawn = torch.zeros(num_samples, batch.numel(), graph.num_units, dtype=torch.int64, device=like.device)
    for unit, scope, odds in zip(reversed(order.units), reversed(order.scopes), reversed(log_odds), strict=True):
        places = states ** torch.arange(len(scope) - 1, -1, -1, device=like.device)
        index = (drawn[..., scope] * places).sum(-1)  # [N, B]
        table = odds.reshape(batch.numel(), states - 1, -1)
        own = table.gather(2, index.mT.unsqueeze(1).expand(-1, states - 1, -1)).double()  # [B, K - 1, N]
        chance = torch.rand(index.mT.shape, dtype=torch.float64, device=like.device).unsqueeze(1)
        if states == 2:
            below = (-own).sigmoid()
        else:
            below = torch.cat([torch.zeros_like(own[:, :1]), own], 1).softmax(1).cumsum(1)[:, :-1]
        drawn[..., unit] = (chance >= below).sum(1).mT
    columns = drawn.to(like.dtype) if width == 1 else columns_of(drawn, width, like.dtype)
    return columns.reshape(num_samples, *batch, graph.num_units * width)


def _of_unit(biases: Tensor, unit: int, width: int, scope: int) -> list[Tensor]:
    """The bias of each state of a unit, with dimensions of 1 for its scope."""
    ones = (1,) * scope
    if width == 1:
        on = biases[..., unit]
        return [on.new_zeros(ones), on.reshape(on.shape + ones)]
    return [state.reshape(state.shape + ones) for state in biases[..., unit, :].unbind(-1)]


def _of_pair(couplings: Tensor, edge: int, turned: bool, width: int) -> list[Tensor | None]:
    """For each state of the unit that is summed out, the couplings to the states of the other ``[*batch, K]``."""
    if width == 1:
        coupling = couplings[..., edge]
        return [None, torch.stack([torch.zeros_like(coupling), coupling], -1)]
    table = couplings[..., edge, :, :]
    return list(table.unbind(-1 if turned else -2))


def _log_sum(tables: list[Tensor]) -> Tensor:
    return torch.stack(torch.broadcast_tensors(*tables)).logsumexp(0)


def _as_table(table: Tensor, own: list[int], scope: list[int]) -> Tensor:
    """A table over some units of a scope, ``[*batch, K, ...]``, with dimensions of 1 for the others."""
    first = table.dim() - len(own)
    sizes = dict(zip(own, table.shape[first:], strict=True))
    return table.reshape(table.shape[:first] + tuple(sizes.get(unit, 1) for unit in scope))
