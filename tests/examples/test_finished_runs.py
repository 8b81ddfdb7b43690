"""Finished runs: evaluated once more, compared, exported, and refused where they are damaged."""

import csv
import importlib.util
import json
import math
import re

import missing
import pytest
import torch
from example_runs import TINY, TINY_DVAE, printed, results


def test_evaluation_repeats_what_training_printed(launch, trained_run, tiny_run):
    first = results(tiny_run)
    (tiny_run / "results.json").unlink()
    assert printed(launch(f"evaluate.py {tiny_run} --no-figures")) == printed(trained_run[1])
    assert results(tiny_run) == first
    launch(f"evaluate.py {tiny_run} --no-figures --seed 5 --num-samples 31 --num-images 5")
    other = results(tiny_run)
    assert (other["seed"], other["num_samples"], other["num_images"]) == (5, 31, 5)
    assert other["log_likelihood"] != first["log_likelihood"]


def test_comparison_is_image_by_image(launch, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    launch(f"vampprior.py {TINY} --run {one} --no-figures --train-images 100")
    launch(f"vampprior.py {TINY} --run {two} --no-figures --train-images 100 --components 40 --num-images 9")
    rows = []
    for run in (one, two):
        with (run / "log_likelihood.csv").open() as file:
            rows.append({row["image"]: float(row["log_likelihood"]) for row in csv.DictReader(file)})
    both = rows[0].keys() & rows[1].keys()
    gain = torch.tensor([rows[1][image] - rows[0][image] for image in both])
    text = launch(f"compare.py {one} {two} --by components --figure {tmp_path / 'c.png'}")
    assert 1 < len(both) < 6
    assert f"two gains {gain.mean():.2f} ± {gain.std() / len(both) ** 0.5:.2f} nats per image over one" in text
    for run, shared in ((one, 0.3), (two, 0.4)):  # errors of log-partitions, which no number of images averages away
        (run / "results.json").write_text(json.dumps(results(run) | {"shared_error": shared}))
    error = math.hypot(gain.std() / len(both) ** 0.5, 0.3, 0.4)
    assert f"two gains {gain.mean():.2f} ± {error:.2f} nats per image over one" in launch(f"compare.py {one} {two}")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit, match="--by prior: expected a flag with numbers in every run"):
        launch(f"compare.py {one} {two} --by prior")
    with pytest.raises(SystemExit, match="holds no run that was evaluated"):
        launch(f"compare.py {tmp_path / 'three'}")
    with pytest.raises(SystemExit, match="at least one run, got none"):
        launch("compare.py")


def test_runs_on_other_data_have_no_gain(launch, tmp_path, made_root):
    tiny = f"{TINY} --epochs 1 --no-figures --train-images 100"
    for name, data in (("one", "digits"), ("two", "caltech101_silhouettes"), ("three", "digits")):
        launch(f"vampprior.py {tiny} --data {data} --root {made_root} --run {tmp_path / name}")
    text = launch(f"compare.py {' '.join(str(tmp_path / name) for name in ('one', 'two', 'three'))}")
    assert "two has no gain over one: its data are caltech101_silhouettes, not digits" in text
    assert re.findall(r"(\w+) gains", text) == ["three"]
    (tmp_path / "three" / "config.json").write_text("{}")
    with pytest.raises(SystemExit, match=r"three cannot be compared: .*config\.json is damaged"):
        launch(f"compare.py {tmp_path / 'one'} {tmp_path / 'three'}")


DAMAGES = {
    "config.json": [
        lambda text: text[:100],
        lambda text: text.replace(b'"vampprior",\n    "arguments"', b'"../tests/conftest",\n    "arguments"'),
        lambda text: text.replace(b'"vampprior",\n    "arguments"', b'"demo",\n    "arguments"'),
        lambda text: text.replace(b'"latent": 2', b'"latent": -2'),
        lambda text: text.replace(b'"latent": 2', b'"latent": "2"'),
        lambda text: text.replace(b'"latent": 2', b'"width": 2'),
        lambda text: text.replace(b'"digits"', b'"letters"'),
    ],
    "best.safetensors": [lambda text: text[:-3]],
    "metrics.csv": [lambda text: b""],
}


def test_damaged_run_is_refused_by_name(launch, tiny_run):
    for name, changes in DAMAGES.items():
        content = (tiny_run / name).read_bytes()
        for change in changes:
            assert change(content) != content
            (tiny_run / name).write_bytes(change(content))
            with pytest.raises(SystemExit, match=f"cannot be evaluated: .*{re.escape(name)}"):
                launch(f"evaluate.py {tiny_run} --no-figures")
        (tiny_run / name).unlink()
        with pytest.raises(SystemExit, match=f"{re.escape(name)} is missing"):
            launch(f"evaluate.py {tiny_run} --no-figures")
        (tiny_run / name).write_bytes(content)
    with pytest.raises(SystemExit, match="nowhere is no folder"):
        launch(f"evaluate.py {tiny_run / 'nowhere'}")


def test_nothing_in_a_run_folder_is_executed(launch, tiny_run, monkeypatch):
    (tiny_run / "vampprior.py").write_text("raise SystemExit('executed')\ndef build(config, data): ...\n")
    (tiny_run / "intruder.py").write_text("raise SystemExit('executed')\ndef build(config, data): ...\n")
    monkeypatch.chdir(tiny_run)
    monkeypatch.syspath_prepend(str(tiny_run))
    launch(f"evaluate.py {tiny_run} --no-figures")
    config = tiny_run / "config.json"
    text = config.read_text()
    for name in ("intruder", "./intruder", str(tiny_run / "intruder"), "intruder.py"):
        config.write_text(text.replace('"example": "vampprior"', f'"example": {json.dumps(name)}'))
        with pytest.raises(SystemExit, match="names the example"):
            launch(f"evaluate.py {tiny_run} --no-figures")


def test_export_is_refused_before_the_work_begins(launch, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r"expected a name that ends in \.nc or \.zarr, got draws\.txt"):
        launch(f"evaluate.py {tmp_path} --export draws.txt")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="install zarr"):
        launch(f"evaluate.py {tmp_path} --export draws.zarr")


@pytest.mark.parametrize(("suffix", "libraries"), [(".nc", ("netCDF4", "h5netcdf")), (".zarr", ("zarr",))])
def test_export_holds_the_importance_samples(launch, tiny_run, suffix, libraries):
    if not any(importlib.util.find_spec(name) for name in libraries):
        pytest.skip(missing.library(*libraries))
    import xarray

    launch(f"evaluate.py {tiny_run} --no-figures --export {tiny_run / 'draws'}{suffix} --export-images 6")
    tree = xarray.open_datatree(tiny_run / f"draws{suffix}")
    assert tree["posterior"]["z"].shape == (1, 30, 6, 2)
    mean = float(tree["importance"]["log_likelihood"].mean())
    assert mean == pytest.approx(results(tiny_run)["log_likelihood"])


def test_discrete_vae_is_exported_with_the_bits_that_it_is_evaluated_with(launch, tmp_path):
    if not any(importlib.util.find_spec(name) for name in ("netCDF4", "h5netcdf")):
        pytest.skip(missing.library("netCDF4", "h5netcdf"))
    import xarray

    launch(f"dvae.py {TINY_DVAE} --run {tmp_path} --no-figures")
    launch(f"evaluate.py {tmp_path} --no-figures --export {tmp_path / 'draws.nc'} --export-images 6")
    tree = xarray.open_datatree(tmp_path / "draws.nc")
    assert all(set(draws.values.flat) <= {0.0, 1.0} for draws in tree["posterior"].values())
    mean = float(tree["importance"]["log_likelihood"].mean())
    assert mean == pytest.approx(results(tmp_path)["log_likelihood"])
