"""The examples that train on sequences, with tiny sizes: what they print and write."""

import json
import math
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from pyrodgm.zoo import parity

EXAMPLES = Path(__file__).parents[2] / "examples"
PARITY = "parity.py --bits 3 --hidden 8 --max-steps 3 --updates 40 --num-examples 50 --run RUN"
TEXT = (
    "adaptive_language_model.py --data tiny_shakespeare --hidden 10 --embedding 4 --max-steps 3 --batch-size 4 "
    "--length 9 --updates 6 --valid-every 3 "
    "--valid-symbols 300 --test-symbols 300 --ensemble 3 --sample 12 --run RUN"
)


@pytest.fixture
def launch(monkeypatch, capsys, tmp_path):
    torch.set_default_dtype(torch.float32)
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def launch(command):
        name, *arguments = command.replace("RUN", str(tmp_path / "run")).split()
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out, json.loads((tmp_path / "run" / "results.json").read_text())

    return launch


@pytest.mark.parametrize("model", ["gru", "act", "stick-breaking"])
def test_parity(launch, tmp_path, model):
    text, results = launch(f"{PARITY} --model {model}{' --no-figures' if model != 'act' else ''}")
    rows = results["difficulties"]
    assert [row["difficulty"] for row in rows] == [1, 2, 3]
    assert all(0 <= row["error"] <= 1 and 1 <= row["mean_step"] <= 3 for row in rows)
    assert re.search(rf"^ +all +{100 * sum(row['error'] for row in rows) / 3:.2f} ", text, re.MULTILINE)
    assert (tmp_path / "run" / "steps.png").exists() == (model == "act")


def test_parity_averages_over_seeds(launch):
    text, results = launch(f"{PARITY} --num-seeds 2 --seed 4 --updates 15 --no-figures")
    assert [run["seed"] for run in results["runs"]] == [4, 5]
    for i, row in enumerate(results["difficulties"]):
        a, b = (run["difficulties"][i]["divergence"] for run in results["runs"])
        assert a != b
        assert row["divergence"] == pytest.approx((a + b) / 2)
        assert row["divergence_sd"] == pytest.approx(abs(a - b) / math.sqrt(2))
        assert f"{row['divergence']:.2f} ± {row['divergence_sd']:.2f}" in text


def test_parity_draws_what_it_says():
    draw = parity.draw
    x, y = draw(2000, 6, 1, 6)
    assert x.shape == (2000, 1, 6)
    assert set(x.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert torch.equal(y.flatten(), (x == 1).sum((1, 2)).remainder(2).double())
    assert set((x != 0).sum((1, 2)).unique().tolist()) == {1, 2, 3, 4, 5, 6}
    assert (y.mean() > 0.4) & (y.mean() < 0.6)
    assert ((draw(50, 6, 4, 4)[0] != 0).sum((1, 2)) == 4).all()


def test_parity_becomes_harder_and_then_dearer():
    config = parity.Config(bits=4, curriculum=8, free=10, warmup=5)
    assert [parity.most(config, update) for update in (1, 2, 5, 8, 20)] == [1, 2, 3, 4, 4]
    assert [parity.price(config, update) for update in (1, 10, 12, 15, 20)] == [0.0, 0.0, 0.4, 1.0, 1.0]
    plain = parity.Config(bits=4, curriculum=0, free=0, warmup=0)
    assert (parity.most(plain, 1), parity.price(plain, 1)) == (4, 1.0)


@pytest.mark.parametrize("model", ["batch-norm-lstm", "act-lstm", "stick-breaking-gru"])
def test_language_model_is_trained_and_evaluated_again(launch, tmp_path, model, made_root):
    text, results = launch(f"{TEXT} --model {model} --root {made_root}")
    names = ["ens. 1", "ens. 3", "mean weights", "stopping early"]
    assert list(results["test"]) == (names if model.startswith("stick") else names[:1])
    for name, row in results["test"].items():
        assert 3 < row["bits"] < math.log2(65) + 1
        assert row["count"] == 299
        (printed,) = re.findall(rf"^{name} +([\d.]+)", text, re.MULTILINE)
        assert float(printed) == pytest.approx(row["bits"], abs=5e-5)
    files = {".lock", "best.safetensors", "config.json", "metrics.csv", "pair.json", "results.json", "state.pt"}
    files |= {"constants.safetensors", "tensorboard", "times.csv"}
    assert {file.name for file in (tmp_path / "run").iterdir()} == files
    assert re.search("a sample: ['\"]the ", text)
    assert launch("evaluate.py RUN") == (text, results)
    _, other = launch("evaluate.py RUN --seed 3")
    assert (other["test"] == results["test"]) == (not model.startswith("stick"))  # the others draw nothing
    with pytest.raises(SystemExit, match=r"--num-images is not for .*, a run on a text"):
        launch("evaluate.py RUN --num-images 5")
    (tmp_path / "run" / "results.json").write_text("[")
    with pytest.raises(SystemExit, match=r"cannot be evaluated: .*results\.json is damaged"):
        launch("evaluate.py RUN")


def test_language_model_resumes_under_the_same_flags_only(launch, made_root):
    command = f"{TEXT} --model lstm --root {made_root}"
    _, first = launch(command)
    text, again = launch(f"{command} --resume --sample 0")
    assert "a sample: 'the '" in text
    assert list(first["test"]) == ["ens. 1"]
    assert again["test"] == first["test"]
    with pytest.raises(SystemExit, match="begun with other arguments \\(hidden: was"):
        launch(f"{command} --resume --hidden 5")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--sample -1", "--sample must be at least 0, got -1"),
        ("--ensemble 0", "--ensemble must be at least 1, got 0"),
        ("--test-symbols 1", "--test-symbols must leave at least 2 of the [0-9]+ symbols"),
    ],
)
def test_what_follows_the_training_of_a_text_is_checked_before_it(launch, tmp_path, made_root, flags, message):
    with pytest.raises(SystemExit, match=message):
        launch(f"{TEXT} --model lstm --root {made_root} {flags}")
    assert not (tmp_path / "run").exists()


def test_parity_keeps_no_weights_to_evaluate(launch, tmp_path):
    launch(f"{PARITY} --model gru --no-figures")
    with pytest.raises(SystemExit, match="a run of parity, which keeps no weights"):
        launch("evaluate.py RUN")


def test_parity_refuses_to_measure_nothing(launch):
    with pytest.raises(SystemExit, match="--num-examples must be at least 1, got 0"):
        launch(f"{PARITY} --num-examples 0")


@pytest.mark.parametrize("options", ["--model nade", "--model nade --init lstm", "--model stick-breaking --init sum"])
def test_nade(launch, tmp_path, options):
    command = "stick_breaking_nade.py --data digits --epochs 2 --hidden 6 --max-steps 2 --num-samples 3 --num-images 20"
    figures = "" if "stick" in options else " --no-figures"
    text, results = launch(f"{command} --run RUN {options}{figures}")
    names = ["log_likelihood", "ens. 1", "ens. 3", "bound", "mean_step", "divergence"]
    assert list(results["test"]) == (names if "stick" in options else names[:1])
    row = results["test"]["log_likelihood"]
    assert -64 < row["mean"] < -10
    assert f"log_likelihood  {row['mean']:.2f} ± {row['standard_error']:.2f}" in text
    if "stick" in options:
        assert results["test"]["bound"]["mean"] < row["mean"]
        assert {file.name for file in (tmp_path / "run" / "figures").iterdir()} == {"samples.png", "divergence.png"}
    again, evaluated = launch("evaluate.py RUN --no-figures")
    assert evaluated == results
    assert again == text.replace(", figures", "")
    _, other = launch("evaluate.py RUN --no-figures --num-images 9 --num-samples 2 --seed 5")
    assert (other["num_images"], other["num_samples"], other["seed"]) == (9, 2, 5)
    assert other["test"]["log_likelihood"] != row
    assert other.keys() == results.keys()
