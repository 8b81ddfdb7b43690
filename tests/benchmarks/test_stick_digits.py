"""The digits of benchmarks/stick_digits.py, fewer of them: float32 trains as float64 does."""

import importlib.util
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).parents[2] / "benchmarks" / "stick_digits.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("stick_digits", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("truncation", "concentration", "learning_rate", "gradient"),
    [
        (20, 0.3, 3e-3, "reparam"),
        (20, 0.3, 3e-3, "dreg"),
        (200, 0.05, 1e-2, "reparam"),
        (200, 0.05, 1e-2, "stl"),
    ],
)
def test_bounds_are_those_of_float64(benchmark, gradient, truncation, concentration, learning_rate):
    torch.set_default_dtype(torch.float32)
    config = benchmark.Config(epochs=3, hidden=20)
    images = (torch.rand(300, 36) < torch.linspace(0, 1, 36)).float()
    pair = benchmark.make_pair(config, truncation, concentration, images)
    formats = (torch.float32, torch.float64)
    single, double = (benchmark.bounds(config, pair, images.to(d), gradient, learning_rate) for d in formats)
    assert single == pytest.approx(double, abs=0.1)
    assert max(double) - double[-1] < 5.0
