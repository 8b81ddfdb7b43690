"""Fields of many states at once, by sums of rows of the weights that are looked up."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from pyrodgm.arithmetic._compat import in_transform
from pyrodgm.boltzmann.energy import right_field
from pyrodgm.boltzmann.layers import Kinds
from pyrodgm.boltzmann.units import Units

GROUP = 5  # units whose sums are tabulated together
LEAST_USES = 2**11  # of a table, which takes memory anew and costs what the product of some hundred states does
LEAST_PRODUCT = 2**21  # multiplications; smaller products are faster than the operations of a look-up
LARGEST_TABLE = 2**22  # numbers


Field = Callable[[Tensor], Tensor]


def fields_of_sweeps(
    weights: Tensor, biases: tuple[Tensor, Tensor], units: Kinds, left: Tensor, num_sweeps: int
) -> Iterator[tuple[Field, Field]]:
    """The fields of the right layer given the left one and of the left given the right, for each of some sweeps.

    The first of the right is a product, as the states that are given may have any values.
    """
    first: Field = partial(right_field, weights, biases[1])
    again = field_of_states(weights, biases[1], units[0], left, num_sweeps - 1)
    to_left = field_of_states(weights.mT, biases[0], units[1], left, num_sweeps)
    for sweep in range(num_sweeps):
        yield again if sweep else first, to_left


def field_of_states(weights: Tensor, bias: Tensor, units: Units, like: Tensor, num_products: int) -> Field:
    """``states @ weights + bias`` as a function of the states: of many on a CPU, by look-ups in place of products.

    A field is the sum of the rows of the weights whose units are on. Sums of five rows are tabulated for all 32 states
    of five units, so that a field takes a fifth of the additions. It is that of a product to rounding.

    Args:
        weights: ``[*, L, R]``, real.
        bias: ``[*, R]``, real.
        units: The kind of the L units.
        like: States of either side, ``[*, L]`` or ``[*, R]``; as many come, each 0 or 1 where units are discrete.
        num_products: How many times they come.
    """
    num_states, (rows, columns) = like.shape[:-1].numel(), weights.shape[-2:]
    groups = -(-rows // GROUP)
    if (
        in_transform()  # vmap has no rule for look-ups
        or not units.discrete
        or weights.device.type != "cpu"
        or (weights.dtype, like.dtype) != (torch.float32, torch.float32)
        or (weights.dim(), bias.dim(), like.dim()) != (2, 1, 2)
        or num_states * num_products < LEAST_USES
        or num_states * rows * columns < LEAST_PRODUCT
        or groups * 2**GROUP * columns > LARGEST_TABLE
    ):
        return partial(right_field, weights, bias)
    missing = groups * GROUP - rows
    places = torch.arange(GROUP, device="cpu")
    on = ((torch.arange(2**GROUP, device="cpu").unsqueeze(-1) >> places) & 1).to(weights)
    table = on @ pad(weights, (0, 0, 0, missing)).view(groups, GROUP, columns)
    table[0] += bias  # a state looks up one sum of each group
    sums = table.view(-1, columns)
    begins = (2.0**GROUP * torch.arange(groups, device="cpu")).to(weights).repeat(num_states)
    offsets = torch.arange(0, num_states * groups, groups, dtype=torch.int32, device="cpu")
    powers = (2.0**places).to(weights)

    def field(states: Tensor) -> Tensor:
        states = pad(states, (0, missing)) if missing else states
        numbers = torch.addmv(begins, states.reshape(-1, GROUP), powers).int()
        return embedding_bag(numbers, sums, offsets, mode="sum")

    return field
