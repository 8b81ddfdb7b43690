"""What processes send in a step, as benchmarks/process_steps.py counts it."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch
from toy_pairs import small_vae

FILE = Path(__file__).parents[2] / "benchmarks" / "process_steps.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="processes are forked")
def test_a_step_sends_its_gradient_and_its_loss_in_one_message():
    torch.set_default_dtype(torch.float32)
    spec = importlib.util.spec_from_file_location("process_steps", FILE)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.FAMILIES["small"] = lambda: small_vae(benchmark.PIXELS, 2, 4)
    parameters = sum(p.numel() for p in small_vae(benchmark.PIXELS, 2, 4).parameters())
    for gradient, sent, messages in benchmark.run(2, benchmark.volume, "small"):
        assert gradient == 4 * parameters
        assert sent == gradient + 4
        assert messages == 1
