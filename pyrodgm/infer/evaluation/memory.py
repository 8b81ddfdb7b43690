"""Measures the memory use of programs, and picks block sizes within a bound."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pyrodgm.infer.tracing._compat import TorchDispatchMode, tree_leaves


def even(total: int, limit: int) -> int:
    """Block size of at most ``limit`` (at least 1) for ``total``, a divisor of it if one exceeds half the limit."""
    limit = min(max(limit, 1), total)
    divisors = [size for size in range(limit, limit // 2, -1) if total % size == 0]
    return divisors[0] if divisors else math.ceil(total / math.ceil(total / limit))


def growth(run: Callable[[int], Any]) -> float:
    """Bytes allocated per additional sample by ``run(count)``."""
    used = []
    for count in (1, 3):
        with _Allocations() as allocations:
            run(count)
        used.append(allocations.bytes)
    return max(1.0, (used[1] - used[0]) / 2)


class _Allocations(TorchDispatchMode):
    """Adds up the bytes of all tensors allocated in its context, an upper bound of peak memory."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        held = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for t in tree_leaves(out):
            if isinstance(t, Tensor) and t.untyped_storage().data_ptr() not in held:
                self.bytes += t.untyped_storage().nbytes()
        return out
