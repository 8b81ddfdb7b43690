"""The kills of benchmarks/resume_kills.py, fewer of them, over two kinds of data; and all its kinds, a step each."""

import importlib.util
import os
import random
import sys
import warnings
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).parents[2] / "benchmarks" / "resume_kills.py"


@pytest.fixture(scope="module")
def benchmark():
    torch.set_default_dtype(torch.float32)
    spec = importlib.util.spec_from_file_location("resume_kills", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="runs are killed in forked processes")
@pytest.mark.parametrize("kind", ["VampPrior, images binarised anew", "loader that shuffles"])
def test_killed_runs_end_the_same_bit_for_bit(benchmark, kind):
    torch.set_default_dtype(torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # forking a process with threads, which none of the children uses
        killed, _, same = benchmark.kill_and_resume(kind, 3, random.Random(1))
    assert killed == 3
    assert same


def test_every_kind_trains(benchmark, tmp_path, monkeypatch):
    """One optimiser step of each, so that none is found broken when the benchmark comes to it."""
    torch.set_default_dtype(torch.float32)
    made = benchmark.FitSettings
    monkeypatch.setattr(benchmark, "FitSettings", lambda **options: made(**{**options, "max_steps": 1}))
    for i, kind in enumerate(benchmark.KINDS.values()):
        kind(str(tmp_path / str(i)), False)
