"""The recurrence with rows that stop before the last inner step."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyrodgm.nn.recurrent.cells import CELLS

# Given what the rows have emitted, the weight that each has left, and the tolerance that is left of it when it stops:
# (raw [rows, heads], rest [rows]) -> (weight [rows] of this step, whether [rows] the step is the row's last).
StoppingRule = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def run_with_early_stop(  # noqa: PLR0913 - the arguments of ``unroll``
    x: Tensor,
    flag: Tensor,
    weight: Tensor,
    bias: Tensor,
    state: Tensor,
    emit: Callable[[Tensor], Tensor],
    rule: StoppingRule,
    cell: str,
    max_steps: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Like ``unroll``, but a row that stops takes no further part in the inner steps of this time.

    Returns:
        Hidden states ``[T, B, H]``, the last state ``[parts, B, H]``, weights ``[T, M, B]``, and the number of inner
        steps computed ``[T, B]``.
    """
    kind, size = CELLS[cell], state.shape[-1]
    weight = weight.t().contiguous()
    length, batch = x.shape[:2]
    hidden = x.new_empty(length, batch, size)
    weights = x.new_zeros(length, max_steps, batch)
    num_steps = torch.zeros(length, batch, dtype=torch.int64, device=x.device)
    for t in range(length):
        rows = torch.arange(batch, device=x.device)
        rest, old, mean = x.new_ones(batch), state.contiguous(), torch.zeros_like(state)
        for n in range(max_steps):
            new = torch.empty_like(old)
            gates = x[t] + flag if n == 0 else x[t, rows]
            kind.update(gates, weight, bias, old, new, x.new_empty(len(rows), kind.kept * size))
            num_steps[t, rows] = n + 1
            if n + 1 < max_steps:
                share, stopped = rule(emit(new[0]), rest)
                share = torch.where(stopped, rest, share)
            else:
                share, stopped = rest, torch.ones_like(rest, dtype=torch.bool)
            weights[t, n, rows] = share
            mean.index_add_(1, rows, new * share.unsqueeze(-1))
            going = (~stopped).nonzero().squeeze(-1)
            if len(going) == 0:
                break
            if len(going) < len(rows):
                rows, rest, new, share = rows[going], rest[going], new[:, going], share[going]
            old, rest = new, rest - share
        hidden[t], state = mean[0], mean
    return hidden, state, weights, num_steps
