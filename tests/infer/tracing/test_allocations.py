import ctypes
import sys

import pytest
import torch

from pyrodgm.infer.tracing.allocations import large_blocks_mapped

LIBC = ctypes.CDLL(None)
NAMES = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(LIBC, "mallinfo2"), reason="needs glibc 2.33, which counts its blocks"
)


class Counts(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = [(name, ctypes.c_size_t) for name in NAMES]


def blocks_of_their_own():
    count = LIBC.mallinfo2
    count.restype = Counts
    return count().hblks


def test_large_tensors_get_memory_of_their_own_in_the_context_only():
    with large_blocks_mapped():
        before = blocks_of_their_own()
        inside = torch.empty(2**21, dtype=torch.uint8)
        assert blocks_of_their_own() == before + 1
        del inside
        assert blocks_of_their_own() == before
    outside = torch.empty(2**21, dtype=torch.uint8)
    assert blocks_of_their_own() == before
    del outside


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_TRIM_THRESHOLD_", "131072"), ("GLIBC_TUNABLES", "glibc.malloc.x=1")]
)
def test_bounds_of_the_environment_are_left_alone(monkeypatch, name, value):
    with large_blocks_mapped():
        pass
    monkeypatch.setenv(name, value)
    with large_blocks_mapped():
        before = blocks_of_their_own()
        tensor = torch.empty(2**21, dtype=torch.uint8)
        assert blocks_of_their_own() == before
        del tensor
