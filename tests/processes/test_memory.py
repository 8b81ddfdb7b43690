"""Data of several processes that are in memory once."""

import re
import sys
from pathlib import Path

import pytest
import torch
from process_group import run_processes

from pyrodgm.datasets import Dataset, Split
from pyrodgm.processes import ProcessError, all_sum, in_shared_memory

MEGABYTES = 16


def images():
    made.append(True)
    x = torch.arange(MEGABYTES * 2**18, dtype=torch.float32).view(-1, 64) / 2**24
    return Dataset("made", Split(x), Split(x[:5]), Split(x[:0]), (1, 8, 8), "grey", "none")


made: list[bool] = []


def proportional(part):
    """Kilobytes of mapped files whose name has a part, each page divided by the number of processes that map it."""
    regions = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    return sum(int(re.search(r"\nPss:\s+(\d+)", region)[1]) for region in regions if part in region.split("\n")[0])


def everything(rank):
    data = in_shared_memory(images, (Dataset, Split))
    total = float(data.train.images.double().sum())
    all_sum(torch.zeros(1))  # both have looked at all pages
    kilobytes = proportional("pyrodgm-") if sys.platform == "linux" else None
    all_sum(torch.zeros(1))
    data.train.images[0, 0] = rank + 7.0  # in pages of its own from here on
    all_sum(torch.zeros(1))
    try:
        in_shared_memory(lambda: torch.zeros(1) / 0 if rank else int("no number"))
    except (ValueError, ProcessError) as error:
        failed = f"{type(error).__name__}: {error}"
    return len(made), total, kilobytes, float(data.valid.images[0, 0]), data.name, failed


def test_processes_of_one_machine_hold_data_once(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    zero, one = run_processes(2, everything, tmp_path)
    assert (zero[0], one[0]) == (1, 0)
    assert zero[1] == one[1] == float(images().train.images.double().sum())
    if zero[2] is not None:
        assert zero[2] + one[2] == pytest.approx(1024 * MEGABYTES, rel=0.05)
    assert (zero[3], one[3]) == (7.0, 8.0)
    assert zero[4] == one[4] == "made"
    assert zero[5].startswith("ValueError: invalid literal")
    assert one[5] == f"ProcessError: process 0 failed: {zero[5]}"
    assert not list(folder.iterdir())
