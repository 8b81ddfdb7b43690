"""The pass of NADE over all pixels at once, by operations that PyTorch differentiates itself."""

import math

import torch
from torch import Tensor
from torch.nn.functional import linear, pad


def running_sum(x: Tensor, columns: Tensor, start: Tensor) -> Tensor:
    r"""States before each pixel, :math:`a_d = c + \sum_{j<d} W_j x_j`.

    Sums within blocks of :math:`\sqrt D` pixels by one product with a triangular mask, and before blocks by a
    cumulative sum over these.

    Args:
        x: Images, ``[N, D]``.
        columns: W, ``[D, H]``.
        start: c, ``[H]``.

    Returns:
        ``[D, N, H]``.
    """
    count, features = x.shape
    size = math.ceil(math.sqrt(features))
    missing = -features % size
    blocks = pad(x, (0, missing)).view(count, -1, size).movedim(1, 0)
    weight = pad(columns, (0, 0, 0, missing)).view(len(blocks), size, -1)
    ends = torch.bmm(blocks, weight).cumsum(0) + start
    starts = torch.cat([start.expand_as(ends[:1]), ends[:-1]])
    earlier = torch.ones(size, size, dtype=x.dtype, device=x.device).tril(-1)
    # [blocks, pixel, N, earlier pixel]
    within = (blocks.unsqueeze(1) * earlier.unsqueeze(1)).flatten(1, 2)
    state = torch.bmm(within, weight).view(len(blocks), size, count, -1) + starts.unsqueeze(1)
    return state.flatten(0, 1)[:features]


def refined_steps(
    state: Tensor, rows: Tensor, refine: Tensor, refine_bias: Tensor, head: Tensor, head_bias: Tensor, max_steps: int
) -> tuple[Tensor, Tensor]:
    """Hidden units of each step from states, without the biases of pixels.

    Args:
        state: ``[D, N, H]``.
        rows: V, ``[D, H]``.
        refine: U, ``[H, H]``; with one step ``[0, 0]``, and so on.
        refine_bias: u, ``[H]``.
        head: Weights of what is emitted, ``[2, H]``.
        head_bias: Its bias, ``[2]``.
        max_steps: M.

    Returns:
        Logits ``[M, D, N]`` and what is emitted, ``[M - 1, D, N, 2]``.
    """
    hidden, weight = state.sigmoid(), rows.unsqueeze(-1)
    logits, raw = [torch.matmul(hidden, weight).squeeze(-1)], []
    for _ in range(max_steps - 1):
        raw.append(linear(hidden, head, head_bias))
        hidden = (state + linear(hidden, refine, refine_bias)).sigmoid()
        logits.append(torch.matmul(hidden, weight).squeeze(-1))
    return torch.stack(logits), torch.stack(raw) if raw else state.new_empty(0, *state.shape[:2], len(head_bias))


def plain_pass(  # noqa: PLR0913 - the arguments of one operation
    x: Tensor,
    columns: Tensor,
    start: Tensor,
    rows: Tensor,
    refine: Tensor,
    refine_bias: Tensor,
    head: Tensor,
    head_bias: Tensor,
    max_steps: int,
) -> tuple[Tensor, Tensor]:
    """Logits and what is emitted, as of :func:`refined_steps`, from images ``[N, D]``."""
    return refined_steps(running_sum(x, columns, start), rows, refine, refine_bias, head, head_bias, max_steps)
