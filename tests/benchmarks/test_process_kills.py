"""The kills of benchmarks/process_kills.py, two of them; and what becomes of a job whose process fails."""

import importlib.util
import multiprocessing
import os
import sys
import warnings
from pathlib import Path

import pytest
import torch

from pyrodgm.processes import all_sum, world

FILE = Path(__file__).parents[2] / "benchmarks" / "process_kills.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="processes are forked"),
]


@pytest.fixture(scope="module")
def benchmark():
    torch.set_default_dtype(torch.float32)
    spec = importlib.util.spec_from_file_location("process_kills", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_killed_processes_are_restarted_and_lose_nothing(benchmark):
    torch.set_default_dtype(torch.float32)
    with warnings.catch_warnings():  # the drill ignores them
        killed, _, same = benchmark.drill("persistent chains of each process", 2, seed=0, epochs=6)
    assert killed == 2
    assert same


def failing(folder):
    if world().rank == 1:
        raise ValueError("the disk of this process is full")
    Path(folder, "waits").touch()
    all_sum(torch.zeros(1))


def test_a_process_that_fails_ends_the_job_with_its_error(benchmark, tmp_path):
    def launch():
        try:
            benchmark.launch(failing, (tmp_path,), str(tmp_path), restarts=0)
        except Exception as error:
            (tmp_path / "error").write_text(f"{type(error).__name__}: {error}")

    launcher = multiprocessing.get_context("fork").Process(target=launch)
    launcher.start()
    launcher.join()
    error = (tmp_path / "error").read_text()
    assert error.startswith("ChildFailedError")
    assert "ValueError: the disk of this process is full" in error
    assert "rank      : 1 (local_rank: 1)" in error
