"""How the memory of tensors is had from the system while a graph is traced."""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Parameters of mallopt, and their values while a context lasts and after it, in bytes.
_TRIM, _MAPPED = -1, -3
_WITHIN = {_MAPPED: 2**20, _TRIM: 2**17}
_AFTER = {_MAPPED: 2**25, _TRIM: 2**26}


@contextmanager
def large_blocks_mapped() -> Iterator[None]:
    """In the context tensors of 1 MiB and more get memory of their own from the system, and give it back when freed.

    Tracing makes small objects that stay in between large tensors that do not. glibc takes both from one heap, which
    cannot shrink below its last small object nor put a tensor where two freed ones of other sizes lay: the peak was
    three times what was in use at once. After the context the bounds are those that glibc comes to by itself once a
    block of 32 MiB was freed. Bounds that the environment sets are left alone, as are other systems.
    """
    mallopt = None if _chosen_by_user() else _mallopt()
    if mallopt is None:
        yield
        return
    for name, value in _WITHIN.items():
        mallopt(name, value)
    try:
        yield
    finally:
        for name, value in _AFTER.items():
            mallopt(name, value)


def _chosen_by_user() -> bool:
    """Whether the environment says something about glibc's memory."""
    return any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")


def _mallopt() -> Callable[[int, int], int] | None:
    """The function that sets such a bound, where glibc is there."""
    return getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
