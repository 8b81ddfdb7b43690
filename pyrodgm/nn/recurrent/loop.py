"""The recurrence over time and inner steps as a loop of differentiable operations.

Every transform of ``torch.func`` and forward mode go through it; training runs the one operation of ``unroll``.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from pyrodgm.arithmetic import wide
from pyrodgm.nn.recurrent.weights import RULES, log_fractions

Parts = tuple[Tensor, ...]


def unroll_by_loop(  # noqa: PLR0913 - the arguments of unroll
    x: Tensor,
    flag: Tensor,
    weight: Tensor,
    bias: Tensor,
    state: Tensor,
    head_weight: Tensor,
    head_bias: Tensor,
    given: Tensor,
    cell: str,
    rule: str,
    max_steps: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What :func:`pyrodgm.nn.recurrent.unroll.unroll` returns, of the same arguments."""
    step, old = _STEPS[cell], tuple(state.unbind())
    hidden, emitted, weights = [], [], []
    for t in range(len(x)):
        inner = [step(x[t] + flag, weight, bias, old)]
        for _ in range(max_steps - 1):
            inner.append(step(x[t], weight, bias, inner[-1]))
        raw = torch.stack([parts[0] for parts in inner])[:-1] @ head_weight.t() + head_bias
        shares = _weigh(raw, given[t], rule) if max_steps > 1 else wide(torch.ones_like(x[t, :, :1].t()))
        narrow = shares.to(x.dtype).unsqueeze(-1)
        old = tuple((narrow * torch.stack(each)).sum(0) for each in zip(*inner, strict=True))
        hidden.append(old[0])
        emitted.append(raw)
        weights.append(shares.detach())
    return torch.stack(hidden), torch.stack(old), torch.stack(emitted), torch.stack(weights)


def _weigh(raw: Tensor, given: Tensor, rule: str) -> Tensor:
    """Weights ``[M, B]`` of what was emitted, ``[M - 1, B, heads]``."""
    if rule != "sticks":
        return RULES[rule].weigh(raw, given)
    log_v, log1m_v = log_fractions(raw, given)
    return (pad(log_v, (0, 0, 0, 1)) + pad(log1m_v.cumsum(0), (0, 0, 1, 0))).exp()


def _lstm(x: Tensor, weight: Tensor, bias: Tensor, old: Parts) -> Parts:
    i, f, g, o = (x + old[0] @ weight.t()).chunk(4, -1)
    memory = f.sigmoid() * old[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * memory.tanh(), memory


def _gru(x: Tensor, weight: Tensor, bias: Tensor, old: Parts) -> Parts:
    r, z, hidden = (old[0] @ weight.t()).chunk(3, -1)
    of_r, of_z, of_n = x.chunk(3, -1)
    n = (of_n + (r + of_r).sigmoid() * (hidden + bias)).tanh()
    return (torch.lerp(n, old[0], (z + of_z).sigmoid()),)


_STEPS: dict[str, Callable[[Tensor, Tensor, Tensor, Parts], Parts]] = {"lstm": _lstm, "gru": _gru}
