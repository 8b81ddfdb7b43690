import json

import pytest
import torch
from torch import nn

import pyrodgm
from pyrodgm import datasets, experiment
from pyrodgm.infer import DamagedFileError, FitSettings, fit
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal, VampPrior

QUICK = FitSettings(compile="eager", progress=False)


def build(prior=None):
    posterior = GaussianPosterior(mlp(64, [4], 4))
    prior = VampPrior(posterior, torch.rand(3, 64)) if prior is None else prior
    return VAE(prior, BernoulliLikelihood(mlp(2, [4], 64)), posterior)


@pytest.fixture
def run(tmp_path):
    """A run of a user's program, as in README."""
    data = datasets.load("digits")
    pair = build()
    result = fit(pair, data, epochs=2, batch_size=400, run_dir=tmp_path / "run", settings=QUICK)
    return tmp_path / "run", pair, result


def test_a_users_run_gives_everything_back(run):
    folder, pair, result = run
    loaded = pyrodgm.load_run(folder)
    assert all(a.equal(b) for a, b in zip(loaded.pair.parameters(), pair.parameters(), strict=True))
    assert not loaded.pair.training
    assert loaded.metrics == result.metrics
    assert loaded.seconds == result.seconds
    assert loaded.settings["batch_size"] == 400
    assert (loaded.config, loaded.results) == ({}, None)
    assert loaded.versions["torch"] == torch.__version__
    assert loaded.data["name"] == "digits"
    assert loaded.data["validation"]["rows"] == 300
    assert loaded.load_data().train.images.equal(datasets.load("digits").train.images)
    (folder / "results.json").write_text(json.dumps({"elbo": -1.0}))
    assert pyrodgm.load_run(folder).results == {"elbo": -1.0}


def test_the_command_line_says_what_opens_a_users_run(run):
    for read in (experiment.read_run, experiment.read_config):
        with pytest.raises(ValueError, match=r"of no published system: open it with pyrodgm\.load_run") as caught:
            read(run[0])
        assert not isinstance(caught.value, DamagedFileError)


def test_data_that_are_gone_or_changed_are_named(run, tmp_path):
    folder = run[0]
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["data"]["training"]["digest"] = "other"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"digits is not what .*training\.digest: was 'other'"):
        pyrodgm.load_run(folder).load_data()
    fit(build(), torch.ones(20, 64), epochs=1, run_dir=tmp_path / "own", settings=QUICK)
    with pytest.raises(ValueError, match="have no name that can be loaded: they were a user's own"):
        pyrodgm.load_run(tmp_path / "own").load_data()
    own = datasets.Dataset.from_tensors(torch.ones(20, 64), name="mine")
    fit(build(), own, epochs=1, run_dir=tmp_path / "mine", settings=QUICK)
    with pytest.raises(ValueError, match=r"have no name that can be loaded: they were a user's own, .*'name': 'mine'"):
        pyrodgm.load_run(tmp_path / "mine").load_data()


def test_a_pair_that_is_no_data_takes_the_weights(tmp_path):
    class Local(StandardNormal):
        pass

    pair = build(Local(2))
    fit(pair, torch.ones(20, 64), epochs=1, run_dir=tmp_path, settings=QUICK)
    with pytest.raises(FileNotFoundError, match=r"pair\.json is missing.*pair="):
        pyrodgm.load_run(tmp_path)
    loaded = pyrodgm.load_run(tmp_path, pair=build(Local(2)))
    assert all(a.equal(b) for a, b in zip(loaded.pair.parameters(), pair.parameters(), strict=True))
    with pytest.raises(DamagedFileError, match=r"best\.safetensors is not of such a pair"):
        pyrodgm.load_run(tmp_path, pair=nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["config.json", "pair.json", "best.safetensors", "metrics.csv", "times.csv"])
def test_lost_and_damaged_files_are_named(run, name):
    file = run[0] / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] + b"\xff")
    with pytest.raises(DamagedFileError, match=name.replace(".", r"\.")):
        pyrodgm.load_run(run[0])
    file.unlink()
    with pytest.raises(FileNotFoundError, match=name.replace(".", r"\.")):
        pyrodgm.load_run(run[0])
