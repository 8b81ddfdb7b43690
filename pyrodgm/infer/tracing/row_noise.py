"""Random numbers of a batch of which a process sees some rows: those that one process would draw for these rows."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyrodgm.infer.tracing._compat import (
    TorchDispatchMode,
    argument_names,
    is_draw,
    is_in_place,
    tree_leaves,
    tree_map,
)
from pyrodgm.processes import Share, gather_rows, sharing

Layout = tuple[tuple[int, ...], ...]
"""For each draw of a program, how many times the rows of the batch each of its dimensions is; 0 where it is not."""

# They take as many random numbers as the values ask for.
BY_REJECTION = (
    torch.ops.aten._standard_gamma.default,  # noqa: SLF001 - the name of an operator
    torch.ops.aten._sample_dirichlet.default,  # noqa: SLF001
    torch.ops.aten.poisson.default,
    torch.ops.aten.binomial.default,
)


class _Shapes(TorchDispatchMode):
    """Notes the shape of each draw."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[torch.Size] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if is_draw(func):
            self.shapes.append(next(x.shape for x in tree_leaves(out) if isinstance(x, Tensor)))
        return out


def layout_of(run: Callable[[int], Any], count: int, more: int) -> Layout:
    """The layout of the draws that ``run(rows)`` makes, found by running it on two numbers of rows.

    Raises:
        ValueError: If their number or shapes do not follow the number of rows.
    """
    shapes = []
    for rows in (count, more):
        with _Shapes() as seen:
            run(rows)
        shapes.append(seen.shapes)
    if len(shapes[0]) != len(shapes[1]):
        raise ValueError(f"expected as many draws for {count} rows as for {more}, got {[len(s) for s in shapes]}")
    return tuple(_times(a, b, count, more) for a, b in zip(*shapes, strict=True))


def _times(a: torch.Size, b: torch.Size, count: int, more: int) -> tuple[int, ...]:
    times = [0 if m == n else m // count for m, n in zip(a, b, strict=len(a) == len(b))]
    if len(a) != len(b) or any(k and (m != k * count or n != k * more) for k, m, n in zip(times, a, b, strict=True)):
        raise ValueError(f"expected draws in proportion to the rows, got {list(a)} of {count} and {list(b)} of {more}")
    return tuple(times)


class RowNoise(TorchDispatchMode):
    """Context in which a program that sees some rows of a batch draws what one that sees the whole would draw for them.

    The numbers for the whole batch are drawn, so that the random state moves on as it would there, and cut.

    Args:
        share: The rows.
        layout: That of the program's draws, in order.
    """

    def __init__(self, share: Share, layout: Layout) -> None:
        super().__init__()
        self.share, self.layout = share, iter(layout)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not is_draw(func):
            return func(*args, **kwargs)
        times = next(self.layout, None)
        if times is None:
            raise RuntimeError("the program draws more often than when its draws were looked at")
        if not any(times):
            return func(*args, **kwargs)
        if func is torch.ops.aten.randperm.default:
            raise ValueError("a permutation of the rows of a batch cannot be drawn where processes share the batch")
        if is_in_place(func):
            return self._in_place(func, times, args, kwargs)
        extend = _gathered if func in BY_REJECTION else _padded
        whole = [
            self._whole_size(value, times)
            if name == "size"
            else tree_map(lambda x: extend(x, times, self.share) if isinstance(x, Tensor) else x, value)
            for name, value in zip(argument_names(func), args, strict=False)
        ]
        out = func(*whole, **kwargs)
        return tree_map(lambda x: self._own(x, times) if isinstance(x, Tensor) else x, out)

    def _in_place(self, func: Any, times: tuple[int, ...], args: Any, kwargs: Any) -> Tensor:
        own, *others = args
        order = _memory_order(own)
        size = self._whole_size(own.shape, times)
        whole = own.new_empty([size[d] for d in order]).permute(_inverse(order))
        others = [_padded(x, times, self.share) if isinstance(x, Tensor) else x for x in others]
        own.copy_(self._own(func(whole, *others, **kwargs), times))
        return own

    def _whole_size(self, size: Any, times: tuple[int, ...]) -> list[int]:
        return [k * self.share.total if k else n for n, k in zip(size, times, strict=True)]

    def _own(self, whole: Tensor, times: tuple[int, ...]) -> Tensor:
        for d, k in enumerate(times):
            if k:
                whole = whole.narrow(d, k * self.share.begin, k * self.share.count)
        return whole.contiguous()


def _padded(x: Tensor, times: tuple[int, ...], share: Share) -> Tensor:
    """Rows in their place in the whole, in which the others repeat them."""
    order = _memory_order(x)
    for d, k in _row_dims(x, times, share):
        before, after = k * share.begin, k * (share.total - share.begin - share.count)
        ends = x.narrow(d, 0, 1), x.narrow(d, x.shape[d] - 1, 1)
        sizes = [[n if i == d else -1 for i in range(x.dim())] for n in (before, after)]
        x = torch.cat([ends[0].expand(sizes[0]), x, ends[1].expand(sizes[1])], d)
    return x.permute(order).contiguous().permute(_inverse(order))


def _gathered(x: Tensor, times: tuple[int, ...], share: Share) -> Tensor:
    """The rows of all processes."""
    order = _memory_order(x)
    with sharing(share):
        for d, _ in _row_dims(x, times, share):
            x = gather_rows(x, d)
    return x.permute(order).contiguous().permute(_inverse(order))


def _row_dims(x: Tensor, times: tuple[int, ...], share: Share) -> list[tuple[int, int]]:
    """The dimensions of an argument, which is broadcast to the result, that hold rows."""
    offset = len(times) - x.dim()
    dims = [(d, times[d + offset]) for d in range(x.dim()) if d + offset >= 0]
    return [(d, k) for d, k in dims if k and x.shape[d] == k * share.count]


def _memory_order(x: Tensor) -> list[int]:
    """The dimensions from the slowest to the fastest in memory: numbers are drawn in that order."""
    strides = x.stride()
    return sorted(range(x.dim()), key=lambda d: strides[d], reverse=True)


def _inverse(order: list[int]) -> list[int]:
    return [order.index(d) for d in range(len(order))]
