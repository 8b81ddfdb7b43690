"""The recurrence over time and inner steps as one operation with a derivative of its own.

A loop in an operation of its own is one node of a traced graph, whatever the number of steps, and its backward pass
takes the gradient of the weights in one matrix product for all steps together. Within ``torch.func`` a plain loop runs.
"""

from typing import Any

import torch
from torch import Tensor

from pyrodgm.arithmetic._compat import in_transform
from pyrodgm.nn.recurrent.cells import CELLS
from pyrodgm.nn.recurrent.loop import unroll_by_loop
from pyrodgm.nn.recurrent.weights import RULES

# Gradients of gates are kept until a product of as many rows gives the part of the weights' gradient: enough to be
# efficient, and memory that is used again, which costs less than new one.
ROWS = 1024

_FORWARD = (
    "(Tensor x, Tensor flag, Tensor weight, Tensor bias, Tensor state, Tensor head_weight, Tensor head_bias, "
    "Tensor given, str cell, str rule, int max_steps) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)
_BACKWARD = (
    "(Tensor grad_hidden, Tensor grad_last, Tensor grad_raw, Tensor weight, Tensor head_weight, Tensor slopes, "
    "Tensor weights, Tensor inner, Tensor kept, str cell, str rule) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def _forward(  # noqa: PLR0913 - the arguments of one operation
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    update, weigh, inner_steps = CELLS[cell].update, RULES[rule].weigh, range(max_steps)
    hidden, last, raw, weights, inner, kept = _allocate(
        x, flag, weight, bias, state, head_weight, head_bias, given, cell, rule, max_steps
    )
    weight = weight.t().contiguous()  # the product with the untransposed layout takes a third longer
    head_weight = head_weight.t().contiguous()
    old = state
    for t, (now, states, keep) in enumerate(zip(x.unbind(), inner.unbind(), kept.unbind(), strict=True)):
        states[0].copy_(old)
        each, gates = states.unbind(), keep.unbind()
        for n in inner_steps:
            update(now + flag if n == 0 else now, weight, bias, each[n], each[n + 1], gates[n])
        if max_steps == 1:
            old = each[1]
        else:
            emitted = torch.matmul(states[1:max_steps, 0], head_weight).add_(head_bias)
            shares = weigh(emitted, given[t])
            raw[t], weights[t] = emitted, shares
            narrow = shares.to(x.dtype).unsqueeze(-1).unbind()
            old = each[1] * narrow[0]
            for n in inner_steps[1:]:
                old.addcmul_(each[n + 1], narrow[n])
        hidden[t] = old[0]
    last.copy_(old)
    return hidden, last, raw, weights, inner, kept


def _allocate(  # noqa: PLR0913 - the arguments of one operation
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    parts, batch, size = state.shape
    length = len(x)
    return (
        x.new_empty(length, batch, size),
        torch.empty_like(state),
        x.new_empty(length, max_steps - 1, batch, len(head_bias)),
        x.new_ones(length, max_steps, batch, dtype=torch.float32 if x.device.type == "mps" else torch.float64),
        x.new_empty(length, max_steps + 1, parts, batch, size),
        x.new_empty(length, max_steps, batch, CELLS[cell].kept * size),
    )


def _backward(  # noqa: PLR0913 - the arguments of one operation
    grad_hidden: Tensor,
    grad_last: Tensor,
    grad_raw: Tensor,
    weight: Tensor,
    head_weight: Tensor,
    slopes: Tensor,
    weights: Tensor,
    inner: Tensor,
    kept: Tensor,
    cell: str,
    rule: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    kind, pull_back = CELLS[cell], RULES[rule].pull_back
    length, max_steps, batch, size = kept.shape
    units = inner.shape[-1]
    columns = kind.hidden_gates * units
    block = min(length, -(-ROWS // max(1, max_steps * batch)))
    grad_gates, grad_raw = kept.new_empty(block, *kept.shape[1:]), grad_raw.clone()
    grad_weights, grad_gates_of_time = torch.zeros_like(weights), kept.new_empty(length, batch, size)
    grad_weight, grad_flag = torch.zeros_like(weight), kept.new_zeros(size)
    grad_bias = kept.new_zeros(units if columns < size else 0)
    grad = grad_last.clone()
    for t in reversed(range(length)):
        grad[0] += grad_hidden[t]
        states, keep, of_gates = inner[t], kept[t].unbind(), grad_gates[t % block].unbind()
        each, shares, from_heads, later = states.unbind(), None, None, grad
        if max_steps > 1:
            of_weights = (states[1:] * grad).sum(-1).sum(1)
            emitted = grad_raw[t]
            emitted += pull_back(slopes[t], weights[t], of_weights)
            grad_weights[t] = of_weights
            from_heads = torch.matmul(emitted, head_weight).unbind()
            shares = weights[t].to(grad.dtype).unsqueeze(-1).unbind()
        for n in reversed(range(max_steps)):
            new = grad if shares is None else grad * shares[n]
            if from_heads is not None and n < max_steps - 1:
                new += later
                new[0] += from_heads[n]
            later = kind.pull_back(keep[n], each[n], each[n + 1], new, of_gates[n])
            later[0].addmm_(of_gates[n][:, :columns], weight)
            # While it is in the cache.
            if n == max_steps - 1:
                grad_gates_of_time[t] = of_gates[n]
            else:
                grad_gates_of_time[t] += of_gates[n]
        grad = later
        if t % block == 0:  # the block is complete
            gates, steps = grad_gates[: length - t], inner[t : t + block, :-1, 0]
            grad_weight.addmm_(gates[..., :columns].reshape(-1, columns).t(), steps.reshape(-1, units))
            grad_flag += gates[:, 0].sum(1).sum(0)  # one sum over both is many times slower
            if columns < size:
                grad_bias += gates[..., columns - units : columns].reshape(-1, units).sum(0)
    emitted = grad_raw.reshape(-1, len(head_weight)) if max_steps > 1 else grad_raw.new_zeros(0, len(head_weight))
    return (
        kind.input_gradient(grad_gates_of_time),
        kind.input_gradient(grad_flag),
        grad_weight,
        grad_bias,
        grad,
        emitted.t() @ inner[:, 1:-1, 0].reshape(-1, units),
        emitted.sum(0),
        grad_weights,
    )


def _allocate_gradients(  # noqa: PLR0913 - the arguments of one operation
    grad_hidden: Tensor,
    grad_last: Tensor,
    grad_raw: Tensor,
    weight: Tensor,
    head_weight: Tensor,
    slopes: Tensor,
    weights: Tensor,
    inner: Tensor,
    kept: Tensor,
    cell: str,
    rule: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    kind, size = CELLS[cell], inner.shape[-1]
    columns = kind.input_gates * size
    return (
        kept.new_empty(len(kept), kept.shape[2], columns),
        kept.new_empty(columns),
        torch.empty_like(weight),
        kept.new_empty(size if kind.hidden_gates < kind.kept else 0),
        torch.empty_like(grad_last),
        torch.empty_like(head_weight),
        kept.new_empty(len(head_weight)),
        torch.empty_like(weights),
    )


_unroll = torch.library.custom_op("pyrodgm::unroll", _forward, mutates_args=(), schema=_FORWARD)
_unroll_backward = torch.library.custom_op("pyrodgm::unroll_backward", _backward, mutates_args=(), schema=_BACKWARD)
_unroll.register_fake(_allocate)
_unroll_backward.register_fake(_allocate_gradients)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    _, _, weight, _, _, head_weight, _, given, ctx.cell, ctx.rule, _ = inputs
    hidden, last, raw, weights, inner, kept = output
    ctx.mark_non_differentiable(weights, inner, kept)
    ctx.set_materialize_grads(False)  # zeros as large as all that is kept
    ctx.save_for_backward(weight, head_weight, given, hidden, last, raw, weights, inner, kept)


def _pull_back(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    weight, head_weight, given, hidden, last, raw, weights, inner, kept = ctx.saved_tensors
    filled = [
        torch.zeros_like(value) if grad is None else grad.contiguous()
        for grad, value in zip(grads[:3], (hidden, last, raw), strict=True)
    ]
    slopes = RULES[ctx.rule].slopes(raw, given) if weights.shape[1] > 1 else raw
    *first, grad_given = _unroll_backward(
        *filled, weight, head_weight, slopes, weights, inner, kept, ctx.cell, ctx.rule
    )
    of_given = grad_given.to(given.dtype) if ctx.rule == "given" and ctx.needs_input_grad[7] else None
    return (*first, of_given, None, None, None)


_unroll.register_autograd(_pull_back, setup_context=_keep)


def unroll(  # noqa: PLR0913 - the arguments of one operation
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
    """Run a cell over time, ``max_steps`` inner steps each, and weigh these.

    Args:
        x: The input's part of the gates, ``[T, B, gates H]``.
        flag: What is added to it at the first inner step, ``[gates H]``.
        weight: Weights of the hidden state, ``[gates H, H]``.
        bias: ``[H]`` for a GRU's candidate, ``[0]`` for an LSTM.
        state: ``[parts, B, H]``.
        head_weight: Weights of what the inner states emit, ``[heads, H]``.
        head_bias: Its bias, ``[heads]``.
        given: What the rule needs beside that; its first dimension is T.
        cell: A key of ``CELLS``.
        rule: A key of ``RULES``.
        max_steps: M.

    Returns:
        Hidden states ``[T, B, H]``, the last state ``[parts, B, H]``, what was emitted ``[T, M - 1, B, heads]``, and
        the weights ``[T, M, B]`` in float64, without gradient.
    """
    run = unroll_by_loop if in_transform() else _unroll
    return run(x, flag, weight, bias, state, head_weight, head_bias, given, cell, rule, max_steps)[:4]
