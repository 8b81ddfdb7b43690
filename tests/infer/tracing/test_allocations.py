import ctypes
import sys

import pytest
from fresh_process import run_python

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc of 2.33 or later"
    ),
]

# In a process of its own: where much has been freed, a tensor may find a place among that.
PROGRAM = """
import ctypes
import torch
from pyrodgm.infer.tracing.allocations import large_blocks_mapped

class Counts(ctypes.Structure):
    names = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]
    _fields_ = [(name, ctypes.c_size_t) for name in names]

count = ctypes.CDLL(None).mallinfo2
count.restype = Counts

def blocks():
    before = count().hblks
    tensor = torch.empty(2**24, dtype=torch.uint8)
    return count().hblks - before

with large_blocks_mapped():
    inside = blocks()
print(inside, blocks())
"""


def test_large_tensors_get_memory_of_their_own_in_the_context_only():
    assert run_python("-c", PROGRAM).stdout.split() == ["1", "0"]


def test_bounds_of_the_environment_are_left_alone():
    assert run_python("-c", PROGRAM, MALLOC_MMAP_THRESHOLD_=str(2**25)).stdout.split() == ["0", "0"]
