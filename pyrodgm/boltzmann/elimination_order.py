"""The order in which the units of a graph are summed out."""

from dataclasses import dataclass

MAX_WIDTH = 20  # units in a message: tables of two million entries
FAST_WIDTH = 12  # up to which sums take no longer than sweeps of chains


@dataclass(frozen=True)
class EliminationOrder:
    """An order of the units, and for each the units that its sum depends on.

    Attributes:
        units: The units in the order in which they are summed out; not all of them where the width is above the limit.
        scopes: For each, the units still there that share a factor with it, in the order of elimination.
        width: Largest number of units in a scope; where it is above the limit, the least that the next unit would
            have had. At least the treewidth of the graph.
        limit: The limit of the width.
    """

    units: list[int]
    scopes: list[list[int]]
    width: int
    limit: int

    @property
    def feasible(self) -> bool:
        """Whether the width is within the limit."""
        return self.width <= self.limit


def min_fill_order(num_units: int, edges: list[tuple[int, int]], limit: int = MAX_WIDTH) -> EliminationOrder:
    """Sum out next the unit that joins the fewest pairs of units that were not joined, among those within the limit.

    Source: Koller and Friedman (2009), "Probabilistic graphical models", section 9.4.3.

    Example:
        >>> min_fill_order(4, [(0, 1), (1, 2), (2, 3)]).width
        1
    """
    around: list[set[int]] = [set() for _ in range(num_units)]
    for i, j in edges:
        around[i].add(j)
        around[j].add(i)

    def fill(unit: int) -> tuple[int, int] | None:
        near = list(around[unit])
        if len(near) > limit:
            return None
        return sum(len(near) - 1 - len(around[v] & around[unit]) for v in near) // 2, len(near)

    costs = {unit: cost for unit in range(num_units) if (cost := fill(unit)) is not None}
    left = set(range(num_units))
    units, neighbourhoods = list[int](), list[set[int]]()
    while left:
        if not costs:
            return EliminationOrder(units, [], min(len(around[u]) for u in left), limit)
        unit = min(costs, key=costs.__getitem__)
        del costs[unit]
        left.discard(unit)
        near = around[unit]
        units.append(unit)
        neighbourhoods.append(near)
        changed = set(near)
        for v in near:
            new = near - around[v] - {v}
            around[v] = (around[v] | near) - {v, unit}
            if new:
                changed |= around[v]
        for v in changed:
            cost = fill(v)
            if cost is None:
                costs.pop(v, None)
            else:
                costs[v] = cost
    place = {unit: k for k, unit in enumerate(units)}
    scopes = [sorted(near, key=place.__getitem__) for near in neighbourhoods]
    return EliminationOrder(units, scopes, max(map(len, scopes)), limit)
