"""Log-partition function, moments and samples of small machines, by summing over all states of the smaller side."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import validated, whole_number
from pyrodgm.boltzmann.energy import check_parameters, check_sides, right_field
from pyrodgm.boltzmann.layers import TWO_BITS, Kinds, check_kinds
from pyrodgm.boltzmann.marginal import log_marginal
from pyrodgm.boltzmann.moments import Moments

MAX_UNITS = 22  # of the smaller side: 4 million states
FAST_UNITS = 16  # up to which summing takes no longer than annealing, or sweeps of chains


def can_enumerate(weights: Tensor, max_units: int = MAX_UNITS, units: Kinds = TWO_BITS) -> bool:
    """Whether the smaller side has no more states than ``max_units`` bits have."""
    validated(weights=weights)
    check_sides(weights)
    check_kinds(units, weights.shape[-2:])
    return min(_log2_states(weights, units)) <= whole_number("max_units", max_units, 0)


def exact_log_partition(
    weights: Tensor, left_bias: Tensor, right_bias: Tensor, max_bytes: int = 2**27, units: Kinds = TWO_BITS
) -> Tensor:
    r"""Exact log-partition function; differentiable.

    .. math:: \log Z = \log \sum_l e^{b^\top l} \prod_j \bigl(1 + e^{(l^\top W + c)_j}\bigr)

    for bits. The larger side is summed out in closed form, the smaller one state by state, so many states at a time as
    fit the memory. With a gradient all of them are kept for the backward pass; :func:`exact_moments` gives it in
    bounded memory.

    Args:
        weights: ``[*batch, L, R]``, real; the smaller side has at most 2^22 states.
        left_bias: ``[*batch, L]``, real; batch dimensions broadcast.
        right_bias: ``[*batch, R]``, real.
        max_bytes: Bound on the memory for the states looked at together.
        units: The kinds of the left and of the right units; of bits by default.

    Returns:
        ``[*batch]``, in nats.

    Raises:
        ValueError: If both sides have more than 2^22 states, or the shapes do not fit.

    Source: Salakhutdinov and Murray (2008), ICML, section 2.

    Example:
        >>> round(exact_log_partition(torch.zeros(5, 300), torch.zeros(5), torch.zeros(300)).item() / 305, 4)  # log 2
        0.6931
    """
    max_bytes = whole_number("max_bytes", max_bytes)
    weights, left_bias, right_bias, units, _ = _smaller_first(weights, left_bias, right_bias, units)
    parts = [
        log_marginal(weights, left_bias, right_bias, states, units).logsumexp(0)
        for states in _chunks(weights, left_bias, right_bias, max_bytes, units)
    ]
    return torch.stack(parts).logsumexp(0)


@torch.no_grad()
def exact_moments(
    weights: Tensor, left_bias: Tensor, right_bias: Tensor, max_bytes: int = 2**27, units: Kinds = TWO_BITS
) -> Moments:
    """Exact E[l r'], E[l] and E[r], without gradient; arguments and errors as in :func:`exact_log_partition`.

    Example:
        >>> exact_moments(torch.zeros(2, 3), torch.zeros(2), torch.zeros(3)).left
        tensor([0.5000, 0.5000])
    """
    log_partition = exact_log_partition(weights, left_bias, right_bias, max_bytes, units)
    weights, left_bias, right_bias, units, swapped = _smaller_first(weights, left_bias, right_bias, units)
    total: Moments | None = None
    for states in _chunks(weights, left_bias, right_bias, max_bytes, units):
        share = (log_marginal(weights, left_bias, right_bias, states, units) - log_partition).exp()
        weighted = share.unsqueeze(-1) * units[1].mean(right_field(weights, right_bias, states))
        flat, batch = states.flatten(0, -2), weighted.shape[1:-1]
        coupled = flat.mT @ weighted.flatten(1)
        part = Moments(
            coupled.reshape(flat.shape[-1], *batch, -1).movedim(0, -2),
            (share.unsqueeze(-1) * states).sum(0),
            weighted.sum(0),
        )
        total = part if total is None else Moments(*(a + b for a, b in zip(total, part, strict=True)))
    assert total is not None
    return Moments(total.weights.mT, total.right, total.left) if swapped else total


@torch.no_grad()
def exact_samples(
    weights: Tensor,
    left_bias: Tensor,
    right_bias: Tensor,
    num_samples: int,
    max_bytes: int = 2**27,
    units: Kinds = TWO_BITS,
) -> tuple[Tensor, Tensor]:
    """Independent exact samples, left ``[N, *batch, L]`` and right ``[N, *batch, R]``.

    Arguments and errors as in :func:`exact_log_partition`.

    Example:
        >>> left, right = exact_samples(torch.zeros(2, 3), torch.zeros(2), torch.full((3,), 99.0), 7)
        >>> left.shape, right.mean()
        (torch.Size([7, 2]), tensor(1.))
    """
    num_samples, max_bytes = whole_number("num_samples", num_samples, 0), whole_number("max_bytes", max_bytes)
    weights, left_bias, right_bias, units, swapped = _smaller_first(weights, left_bias, right_bias, units)
    chunks = _chunks(weights, left_bias, right_bias, max_bytes, units)
    joint = torch.cat([log_marginal(weights, left_bias, right_bias, states, units) for states in chunks])
    cdf = joint.to(torch.float64).softmax(0).cumsum(0).movedim(0, -1).contiguous()
    uniform = torch.rand(*cdf.shape[:-1], num_samples, dtype=cdf.dtype, device=cdf.device) * cdf[..., -1:]
    index = torch.searchsorted(cdf, uniform, right=True).clamp(max=cdf.shape[-1] - 1)
    left = units[0].states(index.movedim(-1, 0), weights.shape[-2], weights.dtype)
    right = units[1].draw(right_field(weights, right_bias, left))
    return (right, left) if swapped else (left, right)


def _log2_states(weights: Tensor, units: Kinds) -> tuple[float, float]:
    left, right = weights.shape[-2:]
    return units[0].log2_states(left), units[1].log2_states(right)


def _smaller_first(
    weights: Tensor, left_bias: Tensor, right_bias: Tensor, units: Kinds
) -> tuple[Tensor, Tensor, Tensor, Kinds, bool]:
    """The machine with the side that has fewer states to the left, its kinds, and whether its sides were swapped."""
    check_parameters(weights, left_bias, right_bias)
    if not can_enumerate(weights, units=units):
        raise ValueError(
            f"the smaller side of weights must have at most {MAX_UNITS} units in {{0, 1}}, or 2^{MAX_UNITS} states, "
            f"for exact sums, got {list(weights.shape)} of {units[0]!r} and {units[1]!r}"
        )
    left, right = _log2_states(weights, units)
    if left > right:
        return weights.mT, right_bias, left_bias, (units[1], units[0]), True
    return weights, left_bias, right_bias, units, False


def _chunks(weights: Tensor, left_bias: Tensor, right_bias: Tensor, max_bytes: int, units: Kinds) -> Iterator[Tensor]:
    """All states of the left side, ``[S, 1 for each batch dimension, L]`` at a time."""
    columns, others = weights.shape[-2:]
    batch = torch.broadcast_shapes(weights.shape[:-2], left_bias.shape[:-1], right_bias.shape[:-1])
    # a softplus with its input, and room for a copy
    size = max(1, max_bytes // (3 * weights.element_size() * max(1, batch.numel()) * (columns + others)))
    count = round(2.0 ** units[0].log2_states(columns))
    for begin in range(0, count, size):
        index = torch.arange(begin, min(begin + size, count), device=weights.device)
        yield units[0].states(index, columns, weights.dtype).reshape(len(index), *(1 for _ in batch), columns)
