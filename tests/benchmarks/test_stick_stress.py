"""The stress table of benchmarks/stick_stress.py, much smaller."""

import importlib.util
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).parents[2] / "benchmarks" / "stick_stress.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("stick_stress", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("fractions", ["kumaraswamy", "logit_normal", "gamma", "beta"])
def test_no_value_is_lost_in_training(benchmark, fractions):
    torch.set_default_dtype(torch.float32)
    images = torch.rand(200, 36) * torch.linspace(0, 1, 36)
    config = benchmark.Config(seeds=1, steps=8, hidden=10, batch_size=4, learning_rate=1e-2)
    for truncation, concentration, particles in ((5, 0.5, 10), (200, 0.5, 1), (200, 0.5, 10), (50, 20.0, 1)):
        found = benchmark.stress(config, images, fractions, truncation, concentration, particles)
        assert (found.nonfinite, found.negative) == (0, 0)
        assert 0 < found.smallest < 50
        assert -80 < found.last[0] < -10  # 36 coins cost 25 nats
        assert found.fall == 0.0  # one window only


def test_what_is_wrong_is_counted(benchmark, monkeypatch):
    torch.set_default_dtype(torch.float32)
    images = torch.rand(200, 36)
    images[0, 0] = 1.0
    config = benchmark.Config(seeds=2, steps=3, hidden=5, batch_size=4)
    monkeypatch.setattr(benchmark, "kl_divergence", lambda q, p: torch.tensor([-1.0, torch.nan, 1.0, 1.0]))
    found = benchmark.stress(config, images, "kumaraswamy", 5, 1.0, 1)
    assert (found.negative, found.nonfinite) == (6, 6)


def test_how_far_a_bound_falls(benchmark):
    found = benchmark.Findings()
    for bounds in ([-9.0] * 50 + [-3.0] * 50 + [-7.0] * 50 + [-5.0] * 50, [-2.0] * 50 + [-1.0] * 50):
        found.finish(bounds)
    assert found.fall == 4.0
    assert found.last == [-5.0, -1.0]
