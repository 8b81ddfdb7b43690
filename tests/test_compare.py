"""Differences of runs against those of the log-likelihoods themselves."""

import json
import math

import pytest
import torch

from pyrodgm import experiment
from pyrodgm.infer import DamagedFileError
from pyrodgm.infer.records import write_csv


def write(path, values, shared=0.0, first=0):
    path.mkdir()
    results = {"log_likelihood": sum(values) / len(values), "standard_error": 0.5, "shared_error": shared}
    (path / "results.json").write_text(json.dumps(results))
    write_csv(path / "images.csv", [{"image": first + i, "log_likelihood": v} for i, v in enumerate(values)])
    return path


def test_gain_is_the_mean_of_the_differences(tmp_path):
    a, d = torch.randn(30), 0.1 * torch.randn(30)
    one = write(tmp_path / "one", a.tolist(), shared=0.02)
    two = write(tmp_path / "two", (a + d).tolist(), shared=0.03)
    first, second = experiment.compare([one, two])
    assert (first.gain, first.gain_error) == (0.0, 0.0)
    assert second.gain == pytest.approx(d.mean().item())
    spread = d.std().item() / math.sqrt(30)
    assert second.gain_error == pytest.approx((spread**2 + 0.02**2 + 0.03**2) ** 0.5)
    assert second.log_likelihood == pytest.approx((a + d).mean().item())
    rows = experiment.comparison_table([first, second]).splitlines()
    assert rows[2] == f"| one | {a.mean():.2f} ± 0.50 |  |"
    assert rows[3] == f"| two | {(a + d).mean():.2f} ± 0.50 | {d.mean():+.2f} ± {second.gain_error:.2f} |"


def test_other_images_and_missing_or_damaged_files_are_named(tmp_path):
    one, two = write(tmp_path / "one", [1.0, 2.0]), write(tmp_path / "two", [1.0, 2.0], first=1)
    with pytest.raises(ValueError, match=r"two was evaluated on other images than .*one"):
        experiment.compare([one, two])
    with pytest.raises(FileNotFoundError, match=r"three/results\.json is missing"):
        experiment.compare([one, tmp_path / "three"])
    (one / "images.csv").write_text("image\n1\n")
    with pytest.raises(DamagedFileError, match=r"images\.csv beside it is damaged"):
        experiment.compare([one])
    with pytest.raises(ValueError, match="at least one run"):
        experiment.compare([])
