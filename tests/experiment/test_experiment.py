"""Runs of training, and their reports."""

import json
import math
import shutil
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import pytest
import torch
from coins import LATENT, PIXELS, coins, dataset, pair
from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset, evenly_spaced
from pyrodgm.figures import Scene, draw, draw_pair
from pyrodgm.infer import DamagedFileError, FitSettings, fit, log_likelihood
from pyrodgm.infer.training.checkpoint import load_state
from pyrodgm.infer.training.loggers import read_csv
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import StickWeights, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import ExemplarPrior, GEMPrior, VampPrior
from pyrodgm.zoo.pairs import dense_hvae, pixel_hvae

IMAGES = {"real", "reconstructions", "samples", "active_units"}
FIGURES = IMAGES | {"log_likelihood", "training"}


@dataclass(frozen=True)
class Config:
    latent: int = LATENT
    rate: float = 0.5
    hidden: tuple[int, ...] = (8, 8)
    prior: Literal["standard", "vampprior"] = "vampprior"
    root: str | None = None
    figures: bool = True


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    path = tmp_path_factory.mktemp("trained")
    fit(pair(), dataset(), epochs=2, run_dir=path, settings=FitSettings(config=experiment.describe("toy", Config())))
    torch.set_default_dtype(torch.float32)
    return path


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return experiment.read_run(tmp_path / "run")


def test_run_is_read_back(run):
    assert run.example == "toy"
    assert experiment.restore_config(Config, run) == Config()
    assert [row["epoch"] for row in run.metrics] == [1, 2]
    assert len(run.seconds) == 2
    twin = pair()
    experiment.load_pair(run, twin)
    weights = load_state(run.path / "state.pt")["best_weights"]
    assert all(torch.equal(value, weights[name]) for name, value in twin.state_dict().items())


@pytest.mark.parametrize("name", ["config.json", "metrics.csv", "times.csv", "best.safetensors"])
def test_missing_file_is_named(run, name):
    (run.path / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        experiment.load_pair(experiment.read_run(run.path), pair())


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("config.json", lambda text: text[: len(text) // 2]),
        ("config.json", lambda text: b"[]"),
        ("config.json", lambda text: b"\xff\xfe"),
        ("config.json", lambda text: text.replace(b'"example"', b'"other"')),
        ("config.json", lambda text: text.replace(b'"toy"', b"1")),
        ("config.json", lambda text: text.replace(b'"arguments"', b'"other"')),
        ("metrics.csv", lambda text: b""),
        ("metrics.csv", lambda text: text.replace(b"valid_bound", b"other")),
        ("metrics.csv", lambda text: text[: text.rindex(b",")]),
        ("times.csv", lambda text: text.replace(b"2,", b"2,x")),
        ("best.safetensors", lambda text: b""),
        ("best.safetensors", lambda text: text[:-5]),
        ("best.safetensors", lambda text: text[:-1] + bytes([text[-1] ^ 1])),
    ],
)
def test_damaged_file_is_named(run, name, damage):
    file = run.path / name
    content = file.read_bytes()
    file.write_bytes(damage(content))
    assert file.read_bytes() != content
    with pytest.raises(DamagedFileError, match=name):
        experiment.load_pair(experiment.read_run(run.path), pair())


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        experiment.read_run(tmp_path / "nowhere")


def test_weights_of_another_pair_are_named(run):
    with pytest.raises(DamagedFileError, match=r"(?s)best\.safetensors is not of the pair .*raw_inputs"):
        experiment.load_pair(run, pair(vamp=False))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("latent", 2.5),
        ("latent", True),
        ("latent", "3"),
        ("rate", "fast"),
        ("rate", True),
        ("hidden", 8),
        ("hidden", [8, "8"]),
        ("prior", "flow"),
        ("root", 3),
        ("figures", 1),
        ("colour", "red"),
    ],
)
def test_argument_of_another_kind_is_named(run, argument, value):
    changed = replace(run, arguments={**run.arguments, argument: value})
    with pytest.raises(DamagedFileError, match=rf"config\.json: .*{argument}"):
        experiment.restore_config(Config, changed)


def test_whole_number_is_a_fine_float(run):
    assert experiment.restore_config(Config, replace(run, arguments={**run.arguments, "rate": 2})).rate == 2


@dataclass(frozen=True)
class LaterConfig(Config):
    sizes: tuple[int, ...] = (2, 3)
    truncation: int = field(kw_only=True)


def test_argument_that_came_later_takes_its_default_and_is_missing_without_one(run):
    with pytest.raises(DamagedFileError, match="the arguments truncation are missing"):
        experiment.restore_config(LaterConfig, run)
    run.arguments["truncation"] = 5
    assert experiment.restore_config(LaterConfig, run) == LaterConfig(truncation=5)
    file = run.path / "config.json"
    written = json.loads(file.read_text())
    written["config"]["arguments"]["truncation"] = 5
    file.write_text(json.dumps(written))
    experiment.check_resumable(run.path, "toy", LaterConfig(truncation=5), ())
    with pytest.raises(ValueError, match=r"begun with other arguments \(sizes: was \[2, 3\], is \[4\]\)"):
        experiment.check_resumable(run.path, "toy", LaterConfig(truncation=5, sizes=(4,)), ())


def test_run_is_resumed_with_its_own_arguments_only(run):
    experiment.check_resumable(run.path.parent / "new", "toy", Config(latent=9), ())
    experiment.check_resumable(run.path, "toy", Config(), ())
    experiment.check_resumable(run.path, "toy", Config(root="/data"), ("root",))
    with pytest.raises(ValueError, match=r"latent: was 3, is 9; hidden: was \[8, 8\], is \[4\]"):
        experiment.check_resumable(run.path, "toy", Config(latent=9, hidden=(4,), root="/data"), ("root",))
    with pytest.raises(ValueError, match="holds a run of the example toy, not other"):
        experiment.check_resumable(run.path, "other", Config(), ())


@pytest.mark.slow
def test_report_writes_results_and_figures(run):
    data, model = dataset(), pair()
    experiment.load_pair(run, model)
    results, _ = experiment.report(model, data, run, num_samples=50, seed=1)
    assert json.loads((run.path / "results.json").read_text()) == asdict(results)
    names = FIGURES | {"pseudo_inputs", "grown_samples", "tsne"}
    files = list((run.path / "figures").iterdir())
    assert {file.name for file in files} == {f"{name}.png" for name in names}
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


@pytest.mark.slow
def test_pair_without_pseudo_inputs_gets_the_other_figures(run):
    likelihood = log_likelihood(coins(dataset().mean), dataset().test.images, 4)
    files = experiment.write_figures(coins(dataset().mean), dataset(), run, likelihood)
    assert {file.stem for file in files} == FIGURES | {"tsne"}


def test_sticks_get_figures_of_their_own():
    likelihood = BernoulliLikelihood(nn.Sequential(StickWeights(), *mlp(6, [8], PIXELS)))
    sticks = VAE(GEMPrior(6, 2.0), likelihood, StickBreakingPosterior(mlp(PIXELS, [8], 10)))
    figures = draw_pair(sticks, Scene(sticks, dataset(labels=False)))
    assert figures.keys() == IMAGES | {"first_sticks", "sticks_used", "sparsity"}
    norms = [bar.get_height() for bar in figures["sparsity"].axes[1].patches]
    assert norms == pytest.approx(likelihood.net[1].linear.weight.norm(dim=0).tolist())
    rows = figures["first_sticks"].axes[0].images[0].get_array()
    assert rows.shape == (1 + 4 * 3 + 0, 1 + 12 * 5)


def test_log_likelihoods_of_single_images_are_kept(run):
    _, likelihood = experiment.report(pair(), dataset(), run, num_samples=50, num_images=7, figures=False)
    rows = read_csv(run.path / "log_likelihood.csv")
    assert [row["image"] for row in rows] == evenly_spaced(20, 7).tolist()
    assert [row["log_likelihood"] for row in rows] == likelihood.values.tolist()
    assert [row["k_hat"] for row in rows] == likelihood.k_hat.tolist()


@pytest.mark.slow
def test_samples_grow_from_the_upper_level_and_from_exemplars(run, monkeypatch):
    """The latents that are given are drawn from the components that the first images shown make; the rest is drawn."""
    data = dataset()
    model = dense_hvae(lambda q: ExemplarPrior(q, data.train.images, 3), PIXELS, (2, LATENT), 6)
    with torch.no_grad():
        model.prior.log_variance.fill_(-6.0)
    given, decode = [], Scene.decode
    monkeypatch.setattr(Scene, "decode", lambda self, site, z: given.append((site, z)) or decode(self, site, z))
    likelihood = log_likelihood(model, data.test.images, 4)
    files = experiment.write_figures(model, data, run, likelihood)
    assert {file.stem for file in files} == FIGURES | {"exemplars", "grown_samples", "tsne"}
    ((site, z),) = given
    assert site == "z2"
    chosen = data.train.images[evenly_spaced(20, 8)].repeat_interleave(12, 0)
    white = (z - model.posterior(chosen).mean) / math.exp(-3.0)
    assert abs(white.std().item() - 1.0) < 0.2


@pytest.mark.slow
def test_images_of_two_channels_get_all_figures(run):
    images = torch.rand(30, 2, 3, 4).round()
    data = Dataset.from_tensors(*images.split(10), name="two channels")
    posterior = GaussianPosterior(mlp(24, [8], 2 * LATENT))
    prior = VampPrior.around_mean(posterior, 5, data.mean)
    model = VAE(prior, BernoulliLikelihood(mlp(LATENT, [8], 24)), posterior)
    experiment.report(model, data, run, num_samples=5)
    names = {file.stem for file in (run.path / "figures").iterdir()}
    assert names == FIGURES | {"pseudo_inputs", "grown_samples"}


def test_samples_that_grow_pixel_by_pixel_are_drawn_once():
    """Each of the 12 pixels of 8 x 12 images passes the first norm once."""
    data, batches = dataset(), []
    model = pixel_hvae(lambda q: VampPrior.from_data(q, 9, data.train.images), (1, 3, 4), (2, 3), 4, 2, layers=1)
    model.likelihood.net.norms[0].register_forward_hook(lambda module, inputs, output: batches.append(len(output)))
    figures = draw(model.prior, Scene(model, data))
    assert batches == 12 * [96]
    assert figures.keys() == {"pseudo_inputs", "grown_samples"}


def test_first_training_images_alone():
    labelled = dataset()
    config = experiment.TrainingConfig(data="coins", train_images=7)
    data = experiment.load_data(config, load=lambda name, root: labelled)
    assert torch.equal(data.train.images, labelled.train.images[:7])
    assert torch.equal(data.train.labels, labelled.train.labels[:7])
    assert torch.equal(data.test.images, labelled.test.images)
    assert torch.equal(data.mean, labelled.train.images[:7].mean(0))
    for count in (0, 21):
        with pytest.raises(ValueError, match=f"train_images must lie between 1 and the 20 of coins, got {count}"):
            experiment.load_data(replace(config, train_images=count), load=lambda name, root: labelled)
    seen = []
    experiment.load_data(experiment.TrainingConfig(root="a"), "b", lambda *where: seen.append(where) or labelled)
    assert seen == [("static_mnist", "b")]


def test_spread_covers_the_rows_evenly():
    assert evenly_spaced(10, 10).tolist() == list(range(10))
    steps = evenly_spaced(1000, 36).diff()
    assert steps.min() == 27
    assert steps.max() == 28
