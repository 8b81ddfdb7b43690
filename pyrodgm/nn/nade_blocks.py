"""The pass of NADE over all pixels as one operation, whose hidden units stay in the processor's cache.

What is computed for a block of pixels is used before the next block begins, and is computed again in the backward pass
from the state before the block: a pass over all pixels at once waits for memory. Refined units are kept, as their
matrix products would take longer.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrodgm.arithmetic._compat import in_transform
from pyrodgm.nn.nade_plain import plain_pass

NUMBERS = 2**18  # of the states of a block, some of which lie in the cache together

_FORWARD = (
    "(Tensor x, Tensor columns, Tensor start, Tensor rows, Tensor refine, Tensor refine_bias, Tensor head, "
    "Tensor head_bias, int max_steps, bool keep) -> (Tensor, Tensor, Tensor, Tensor)"
)
_BACKWARD = (
    "(Tensor grad_logits, Tensor grad_raw, Tensor x, Tensor columns, Tensor rows, Tensor refine, Tensor head, "
    "Tensor starts, Tensor refined, bool of_x) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def _blocks(features: int, count: int, hidden: int) -> list[slice]:
    """Pixels of each block."""
    size = max(1, NUMBERS // (count * hidden))
    return [slice(begin, min(begin + size, features)) for begin in range(0, features, size)]


def _allocate(x: Tensor, columns: Tensor, start: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Memory for the results, from the arguments of :func:`_forward`."""
    head_bias, max_steps, keep = others[-3:]
    (count, features), hidden = x.shape, len(start)
    return (
        x.new_empty(max_steps, features, count),
        x.new_empty(max_steps - 1, features, count, len(head_bias)),
        x.new_empty(len(_blocks(features, count, hidden)), count, hidden),
        x.new_empty(max_steps - 1, features if keep else 0, count, hidden),
    )


def _states(pixels: Tensor, columns: Tensor, start: Tensor, out: Tensor) -> Tensor:
    """Write the state before each pixel of a block to ``out``, ``[block, N, H]``; returns that after the last one."""
    out[0].copy_(start)
    each = [*out.unbind(), torch.empty_like(out[0])]
    for d, (pixel, column) in enumerate(zip(pixels.unsqueeze(-1).unbind(), columns.unbind(), strict=True)):
        torch.addcmul(each[d], pixel, column, out=each[d + 1])
    return each[-1]


def _forward(  # noqa: PLR0913 - the arguments of one operation
    x: Tensor,
    columns: Tensor,
    start: Tensor,
    rows: Tensor,
    refine: Tensor,
    refine_bias: Tensor,
    head: Tensor,
    head_bias: Tensor,
    max_steps: int,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    logits, raw, starts, refined = _allocate(
        x, columns, start, rows, refine, refine_bias, head, head_bias, max_steps, keep
    )
    (count, features), hidden, pixels = x.shape, len(start), x.t().contiguous()
    blocks = _blocks(features, count, hidden)
    memory = x.new_empty(3, blocks[0].stop, count, hidden)
    state = start.expand(count, -1)
    for number, block in enumerate(blocks):
        starts[number] = state
        states, units, product = memory[:, : block.stop - block.start].unbind()
        state = _states(pixels[block], columns[block], state, states)
        torch.sigmoid(states, out=units)
        for n in range(max_steps):
            torch.mul(units, rows[block].unsqueeze(1), out=product)
            torch.sum(product, -1, out=logits[n, block])
            if n < max_steps - 1:
                flat = units.view(-1, hidden)
                torch.addmm(head_bias, flat, head.t(), out=raw[n, block].view(-1, len(head)))
                torch.addmm(refine_bias, flat, refine.t(), out=product.view(-1, hidden))
                units = refined[n, block] if keep else units
                torch.sigmoid(product.add_(states), out=units)
    return logits, raw, starts, refined


def _backward(  # noqa: PLR0913 - the arguments of one operation
    grad_logits: Tensor,
    grad_raw: Tensor,
    x: Tensor,
    columns: Tensor,
    rows: Tensor,
    refine: Tensor,
    head: Tensor,
    starts: Tensor,
    refined: Tensor,
    of_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    (count, features), hidden, steps = x.shape, columns.shape[1], len(grad_logits)
    pixels, pull_back = x.t().contiguous(), torch.ops.aten.sigmoid_backward.grad_input
    blocks = _blocks(features, count, hidden)
    memory = x.new_empty(min(steps, 3) + 1, blocks[0].stop, count, hidden)
    to_x, to_columns, to_rows = x.new_zeros(features, count), torch.empty_like(columns), torch.empty_like(rows)
    to_refine, to_bias, to_head = torch.zeros_like(refine), refine.new_zeros(len(refine)), torch.zeros_like(head)
    to_state = x.new_zeros(count, hidden)
    for number, block in reversed(list(enumerate(blocks))):
        first, total, *others = memory[:, : block.stop - block.start].unbind()
        _states(pixels[block], columns[block], starts[number], first)
        units = [first.sigmoid_(), *refined[:, block].unbind()]
        later = total
        for n in reversed(range(steps)):
            of_logits, flat, last = grad_logits[n, block], units[n].view(-1, hidden), n == steps - 1
            grad = total if last else others[n % len(others)]
            torch.mul(of_logits.unsqueeze(-1), rows[block].unsqueeze(1), out=grad)
            of_rows = torch.bmm(of_logits.unsqueeze(1), units[n]).squeeze(1)
            to_rows[block] = of_rows if last else of_rows.add_(to_rows[block])
            if not last:
                of_raw, of_later = grad_raw[n, block].view(-1, len(head)), later.view(-1, hidden)
                grad.view(-1, hidden).addmm_(of_raw, head).addmm_(of_later, refine)
                to_head.addmm_(of_raw.t(), flat)
                to_refine.addmm_(of_later.t(), flat)
                to_bias.add_(of_later.sum(0))
            pull_back(grad, units[n], grad_input=grad)
            if not last:
                total.add_(grad)
            later = grad
        sums = units[0]  # its memory, for the gradients of the states after each pixel
        each, of_states = sums.unbind(), total.unbind()
        each[-1].copy_(to_state)
        for d in range(len(each) - 1, 0, -1):
            torch.add(each[d], of_states[d], out=each[d - 1])
        torch.add(each[0], of_states[0], out=to_state)
        to_columns[block] = torch.bmm(pixels[block].unsqueeze(1), sums).squeeze(1)
        if of_x:
            to_x[block] = sums.mul_(columns[block].unsqueeze(1)).sum(-1)
    return to_x.t().contiguous(), to_columns, to_state.sum(0), to_rows, to_refine, to_bias, to_head


_pass = torch.library.custom_op("pyrodgm::nade", _forward, mutates_args=(), schema=_FORWARD)
_pass_backward = torch.library.custom_op("pyrodgm::nade_backward", _backward, mutates_args=(), schema=_BACKWARD)
_pass.register_fake(_allocate)


@_pass_backward.register_fake
def _allocate_gradients(grad_logits: Tensor, grad_raw: Tensor, x: Tensor, *others: Any) -> tuple[Tensor, ...]:
    columns, rows, refine, head = others[:4]
    return (
        x.new_empty(x.shape),
        torch.empty_like(columns),
        columns.new_empty(columns.shape[1]),
        torch.empty_like(rows),
        torch.empty_like(refine),
        refine.new_empty(len(refine)),
        torch.empty_like(head),
    )


def _one_by_one(
    operation: Callable[..., tuple[Tensor, ...]], info: Any, dims: tuple[int | None, ...], *args: Any
) -> Any:
    """Run an operation for each of the models that ``vmap`` has stacked: that keeps the units of each in the cache."""
    found = [
        operation(*(arg if dim is None else arg.select(dim, i) for arg, dim in zip(args, dims, strict=True)))
        for i in range(info.batch_size)
    ]
    stacked = tuple(torch.stack(parts) for parts in zip(*found, strict=True))
    return stacked, (0,) * len(stacked)


_pass.register_vmap(partial(_one_by_one, _pass))
_pass_backward.register_vmap(partial(_one_by_one, _pass_backward))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.max_steps, _ = inputs
    ctx.mark_non_differentiable(*output[2:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, *output[2:])


def _pull_back(ctx: Any, of_logits: Tensor | None, of_raw: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    *tensors, starts, refined = ctx.saved_tensors
    x, columns, _, rows, refine, _, head, head_bias = tensors
    (count, features), steps = x.shape, ctx.max_steps
    of_logits = x.new_zeros(steps, features, count) if of_logits is None else of_logits.contiguous()
    if of_raw is None:
        of_raw = x.new_zeros(steps - 1, features, count, len(head_bias))
    if torch.is_grad_enabled():  # the gradients shall be differentiated, too
        pull_back = torch.func.vjp(partial(plain_pass, max_steps=steps), *tensors)[1]
        return (*pull_back((of_logits, of_raw)), None, None)
    of_raw = of_raw.contiguous()
    kept = (x, columns, rows, refine, head, starts, refined)
    found = _pass_backward(of_logits, of_raw, *kept, ctx.needs_input_grad[0])
    return (*found, of_raw.sum((0, 1, 2)), None, None)


_pass.register_autograd(_pull_back, setup_context=_keep)


def nade_pass(x: Tensor, columns: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    """:func:`pyrodgm.nn.nade_plain.plain_pass`, block by block on processors outside ``torch.func``."""
    if x.device.type == "cpu" and x.dtype == columns.dtype and not in_transform():
        return _pass(x, columns, *others, torch.is_grad_enabled())[:2]
    return plain_pass(x, columns, *others)
