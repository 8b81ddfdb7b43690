"""Sums in memory that processes share."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from process_group import run_processes

from pyrodgm.processes import ProcessError, all_sum, all_sums, collectives
from pyrodgm.processes.collectives import step_sums
from pyrodgm.processes.shared_sums import SharedSums

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and sockets without names are Linux's")


def terms(rank, step):
    generator = torch.Generator().manual_seed(10 * step + rank)
    odd = torch.randn(300, 130, generator=generator, dtype=torch.float32).T  # not contiguous
    return [torch.tensor(0.5 + rank), torch.randn(7, generator=generator), odd, odd[:5] + 1, odd[:, :3]]


def sums(rank):
    found = [step_sums(terms(rank, step)) for step in range(3)]
    by_messages = [all_sums(terms(rank, step)) for step in range(3)]
    same = torch.ones(200, 100)
    twice = step_sums([same, same])
    kept = all_sum(same)  # in the memory for one such tensor
    kinds = [type(shared) for shared in collectives._shared[1].values()]
    files = [os.readlink(file) for file in Path("/proc/self/fd").iterdir() if file.exists()]
    return found, by_messages, (twice, kept, same), kinds, [file for file in files if "pyrodgm" in file]


@pytest.mark.slow
def test_sums_in_shared_memory_are_those_of_messages(tmp_path):
    found = run_processes(3, sums, tmp_path)
    for shared, sent, (twice, kept, same), kinds, files in found:
        for step, (some, others) in enumerate(zip(shared, sent, strict=True)):
            for x, other, first in zip(some, others, found[0][0][step], strict=True):
                torch.testing.assert_close(x, other, rtol=1e-6, atol=1e-6)
                assert torch.equal(x, first)  # bit for bit in all processes
        assert all(bool((x == 3).all()) for x in (*twice, kept))
        assert bool((same == 1).all())  # tensors that share memory are left alone
        assert kinds == [SharedSums] * 3
        assert all(file.startswith("/memfd:") for file in files)  # no file that could be left behind


def deaths(rank):
    step_sums([torch.ones(2**15)])
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        step_sums([torch.ones(2**15)])
    except ProcessError as error:
        (Path(os.environ["TOLD"]) / str(rank)).write_text(str(error))


def test_a_process_that_is_killed_is_missed_by_all(tmp_path, monkeypatch):
    monkeypatch.setenv("TOLD", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"1\.pt"):  # of the one that was killed
        run_processes(3, deaths, tmp_path)
    for rank in (0, 2):
        assert "another process has died" in (tmp_path / str(rank)).read_text()


def refused(rank):
    sys.platform = "other" if rank else sys.platform
    found = step_sums([torch.full((2**15,), float(rank + 1))])
    return found[0], list(collectives._shared[1].values())


def test_processes_that_cannot_share_memory_send(tmp_path):
    for total, kinds in run_processes(2, refused, tmp_path):
        assert bool((total == 3).all())
        assert kinds == [None]
