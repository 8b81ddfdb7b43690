"""Log-partition function and exact samples of a machine on a graph, by summing out one unit after another."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyrodgm.boltzmann.graph import Graph


class _Factor(NamedTuple):
    scope: list[int]  # in the order of elimination
    table: Tensor  # [*batch, 2, ..., 2], a dimension for each unit of the scope


def check_width(graph: Graph) -> None:
    """Refuse a graph whose exact sums would take too large tables.

    Raises:
        ValueError: Names the width and the limit.
    """
    order = graph.order_of_elimination
    if not order.feasible:
        raise ValueError(
            f"graph must have an elimination order of width at most {order.limit} for exact sums, got at least "
            f"{order.width} for {graph}"
        )


def eliminate(graph: Graph, couplings: Tensor, biases: Tensor) -> tuple[Tensor, list[Tensor]]:
    r"""Log Z, and the log-odds of each unit given the later ones, by summing units out in the order of the graph.

    .. math:: m_i(z_{S_i}) = \log \sum_{z_i} \exp\Bigl(b_i z_i + \sum_{j} w_{ij} z_i z_j
              + \sum_k m_k(z_i, z_{S_k \setminus i})\Bigr)

    over the units k that were summed out before with i in their scope first. All tables are logarithms.

    Args:
        graph: Its elimination order has a width within the limit.
        couplings: ``[*batch, E]``, real.
        biases: ``[*batch, n]``, real.

    Returns:
        Log Z in nats, ``[*batch]``, differentiable; and for each unit in the order of elimination its log-odds given
        its scope, ``[*batch, 2, ..., 2]``.
    """
    check_width(graph)
    order = graph.order_of_elimination
    batch = torch.broadcast_shapes(couplings.shape[:-1], biases.shape[:-1])
    place = {unit: k for k, unit in enumerate(order.units)}
    pairs: list[list[tuple[int, int]]] = [[] for _ in order.units]  # of each unit: a later one, and their edge
    for e, (i, j) in enumerate(graph.edges.tolist()):
        first, second = (i, j) if place[i] < place[j] else (j, i)
        pairs[place[first]].append((second, e))
    waiting: list[list[_Factor]] = [[] for _ in order.units]
    total, log_odds = couplings.new_zeros(batch), []
    for k, (unit, scope) in enumerate(zip(order.units, order.scopes, strict=True)):
        off = couplings.new_zeros(batch + (1,) * len(scope))
        on = _as_table(biases[..., unit], [], scope)
        for other, e in pairs[k]:
            coupling = couplings[..., e]
            on = on + _as_table(torch.stack([torch.zeros_like(coupling), coupling], -1), [other], scope)
        for factor in waiting[k]:
            rest = factor.scope[1:]
            zero, one = factor.table.unbind(len(factor.table.shape) - len(factor.scope))
            off, on = off + _as_table(zero, rest, scope), on + _as_table(one, rest, scope)
        waiting[k] = []
        log_odds.append((on - off).expand(batch + (2,) * len(scope)))
        message = torch.logaddexp(off, on).expand(batch + (2,) * len(scope))
        if scope:
            waiting[place[scope[0]]].append(_Factor(scope, message))
        else:
            total = total + message
    return total, log_odds


def sample_by_elimination(graph: Graph, log_odds: list[Tensor], num_samples: int) -> Tensor:
    """Independent exact samples ``[N, *batch, n]``, units drawn in the reverse order of their elimination."""
    order = graph.order_of_elimination
    batch = log_odds[-1].shape  # the last unit depends on none
    like = log_odds[-1]
    states = like.new_zeros(num_samples, batch.numel(), graph.num_units)
    for unit, scope, odds in zip(reversed(order.units), reversed(order.scopes), reversed(log_odds), strict=True):
        places = 2 ** torch.arange(len(scope) - 1, -1, -1, device=like.device)
        index = (states[..., scope].long() * places).sum(-1)  # [N, B]
        table = odds.reshape(batch.numel(), -1)
        logit = table.gather(1, index.mT).mT
        states[..., unit] = (torch.rand_like(logit, dtype=torch.float64) < logit.double().sigmoid()).to(like)
    return states.reshape(num_samples, *batch, graph.num_units)


def _as_table(table: Tensor, own: list[int], scope: list[int]) -> Tensor:
    """A table over some units of a scope, ``[*batch, 2, ...]``, with dimensions of 1 for the others."""
    batch = table.shape[: table.dim() - len(own)]
    present = set(own)
    return table.reshape((*batch, *(2 if unit in present else 1 for unit in scope)))
