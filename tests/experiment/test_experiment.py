import json
import math
import shutil
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import pytest
import torch
from torch import nn
from toy_pairs import small_vae

from pyrodgm import experiment
from pyrodgm.datasets import Dataset, Split, evenly_spaced
from pyrodgm.experiment.results import has_bits
from pyrodgm.figures import Scene, draw, draw_pair
from pyrodgm.infer import DamagedFileError, FitSettings, fit, log_likelihood
from pyrodgm.infer.training.checkpoint import load_state
from pyrodgm.infer.training.loggers import read_csv
from pyrodgm.likelihoods import (
    BernoulliLikelihood,
    DiscretizedLogisticLikelihood,
    GaussianLikelihood,
    GreyBernoulliLikelihood,
    PixelCNNLikelihood,
)
from pyrodgm.models import VAE
from pyrodgm.nn import PixelCNN, StickWeights, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import ExemplarPrior, GEMPrior, StandardNormal, VampPrior
from pyrodgm.zoo.pairs import dense_hvae, pixel_hvae

PIXELS, LATENT = 12, 3
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


def dataset(labels=True):
    images = (torch.rand(60, PIXELS) < torch.linspace(0.5, 0.9, PIXELS)).double()
    splits = (Split(x, x[:, 0].long() if labels else None) for x in images.split(20))
    return Dataset.from_tensors(*splits, image_shape=(1, 3, 4), name="coins")


def pair(vamp=True):
    return small_vae(PIXELS, LATENT, 8, pseudo_inputs=5 * vamp)


def coins(mean, copied=()):
    """A pair whose likelihood does not depend on z, so that log p(x) is known; the latents ``copied`` are pixels."""
    posterior = GaussianPosterior(nn.Linear(PIXELS, 2 * LATENT))
    likelihood = BernoulliLikelihood(nn.Linear(LATENT, PIXELS), mean)
    for net in (posterior.net, likelihood.net):
        nn.init.zeros_(net.weight)
        nn.init.zeros_(net.bias)
    for unit in copied:
        posterior.net.weight.data[unit, unit] = 1.0
        posterior.net.bias.data[unit] = -0.5
    return VAE(StandardNormal(LATENT), likelihood, posterior)


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


def test_evaluation_of_a_pair_whose_likelihood_is_known():
    data = dataset()
    mean = data.mean.clamp(0.05, 0.95)
    results, likelihood = experiment.evaluate(coins(mean), data, num_samples=4, num_images=10, seconds=[1.0, 9.0, 2.0])
    x = data.test.images[::2]
    exact = (x * mean.log() + (1 - x) * (-mean).log1p()).sum(1)
    torch.testing.assert_close(likelihood.values, exact)
    assert results.log_likelihood == pytest.approx(exact.mean().item())
    assert results.standard_error == pytest.approx(exact.std().item() / math.sqrt(10))
    assert results.elbo == pytest.approx(exact.mean().item())
    assert results.active_units == {"z": 0}
    assert (results.num_images, results.num_samples, results.seconds_per_epoch) == (10, 4, 2.0)


@pytest.mark.slow
def test_latents_that_copy_the_label_count_as_active_and_label_rightly():
    data = dataset()
    results, likelihood = experiment.evaluate(coins(data.mean, copied=[0]), data, num_samples=100)
    assert results.active_units == {"z": 1}
    assert results.knn_error.keys() == {f"z {kind} k={k}" for kind in ("mean", "sample") for k in (3, 5, 10)}
    assert {results.knn_error[f"z mean k={k}"] for k in (3, 5, 10)} == {0.0}
    assert results.knn_error["z sample k=5"] > 0.05  # the posterior is as wide as the classes are apart
    assert results.elbo < results.log_likelihood
    assert results.untrusted_share == likelihood.untrusted.double().mean()
    pixel = experiment.evaluate(coins(data.mean, copied=[1]), data, num_samples=50)[0]
    assert pixel.knn_error["z mean k=5"] > 0.05
    assert experiment.evaluate(coins(data.mean), dataset(labels=False), num_samples=4)[0].knn_error == {}


@pytest.mark.parametrize(("count", "ks"), [(2, []), (7, [3, 5])])
def test_no_more_neighbours_than_labels(count, ks):
    data = dataset()
    data.train.labels[count:] = -1
    results = experiment.evaluate(coins(data.mean), data, num_samples=4)[0]
    assert results.knn_error.keys() == {f"z {kind} k={k}" for kind in ("mean", "sample") for k in ks}


@pytest.mark.slow
def test_evaluation_is_reproducible_and_leaves_the_random_state():
    model, data = pair(), dataset()
    state = torch.get_rng_state()
    first, likelihood = experiment.evaluate(model, data, num_samples=50, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert experiment.evaluate(model, data, num_samples=50, seed=3)[0] == first
    assert experiment.evaluate(model, data, num_samples=50, seed=4)[0] != first
    assert torch.equal(log_likelihood(model, data.test.images, 50, seed=3).values, likelihood.values)


@pytest.mark.parametrize("count", [0, 21])
def test_impossible_number_of_images_is_named(count):
    with pytest.raises(ValueError, match=f"from 1 to 20, got {count}"):
        experiment.evaluate(pair(), dataset(), num_samples=5, num_images=count)


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


def test_table_has_a_row_a_model():
    one = experiment.Results(-23.456, 0.214, -24.1, {"z": 9}, 0.125, {}, 300, 1000, 0, 0.1234)
    two = replace(one, log_likelihood=-101.0, active_units={"z1": 9, "z2": 3}, seconds_per_epoch=None)
    head, first, second = experiment.table({"a": one, "longer": two}).splitlines()
    assert len(head) == len(first) == len(second)
    assert first.split() == ["a", "-23.46", "±", "0.21", "-24.10", "9", "12.5", "%", "-", "0.123"]
    assert second.split() == ["longer", "-101.00", "±", "0.21", "-24.10", "z1", "9,", "z2", "3", "12.5", "%", "-", "?"]
    drawn = replace(one, encoder_log_likelihood=-25.0, encoder_standard_error=0.3)
    head, _, last = experiment.table({"a": one, "d": drawn}).splitlines()
    assert "by the encoder" in head
    assert last.split()[:7] == ["d", "-23.46", "±", "0.21", "-25.00", "±", "0.30"]
    certified = replace(one, later_share=0.25, gap=0.754, gap_error=0.5, trusted_gap=0.054, trusted_gap_error=0.03)
    head, _, last = experiment.table({"a": one, "c": certified}).splitlines()
    assert "gap of bounds  of those not flagged" in head
    expected = "c -23.46 ± 0.21 0.75 ± 0.50 0.05 ± 0.03 -24.10 9 12.5 % 25.0 % 0.123"
    assert last.split() == expected.split()
    grown = VAE(
        StandardNormal(LATENT), BernoulliLikelihood(mlp(LATENT, [4], 6)), GaussianPosterior(mlp(6, [4], 2 * LATENT))
    )
    images = Dataset.from_tensors(*(torch.randint(0, 2, (8, 6)).to(torch.get_default_dtype()) for _ in range(3)))
    results = experiment.evaluate(grown, images, num_images=2, certified=1, encoder_samples=40)[0]
    by_hand = log_likelihood(grown, images.test.images[evenly_spaced(8, 2)], 40, proposal="guide", seed=0)
    assert (results.encoder_log_likelihood, results.encoder_standard_error) == (by_hand.mean, by_hand.standard_error)
    assert abs(results.gap) < 1.0
    assert results.trusted_gap in (results.gap, None)
    assert results.gap_error is results.trusted_gap_error is None  # of a single datum
    assert results.later_share is not None
    assert results.num_samples == 2000


@pytest.mark.slow
def test_grey_data_get_bits_per_dimension():
    """A likelihood that does not depend on z gives each of 2 x 3 pixels its own known distribution."""
    grey = Dataset.from_tensors(*(torch.randint(0, 256, (20, 1, 2, 3)) / 255 for _ in range(3)), num_bins=256)
    likelihood = DiscretizedLogisticLikelihood(nn.Linear(LATENT, 12), grey.mean)
    nn.init.zeros_(likelihood.net.weight)
    model = VAE(StandardNormal(LATENT), likelihood, GaussianPosterior(mlp(6, [], 2 * LATENT)))
    results = experiment.evaluate(model, grey, num_samples=2000)[0]
    exact = likelihood(torch.zeros(LATENT)).log_prob(grey.test.images) / (-6 * math.log(2))
    assert results.bits_per_dimension == pytest.approx(exact.mean().item(), abs=0.01)
    assert results.bits_standard_error == pytest.approx(exact.std().item() / 20**0.5, rel=0.02)
    assert results.bits_per_dimension * -6 * math.log(2) == pytest.approx(results.log_likelihood)
    head, row = experiment.table({"grey": results}).splitlines()
    assert "bits/dim" in head
    assert f" {results.bits_per_dimension:.3f} ± {results.bits_standard_error:.3f} " in row
    binary = replace(results, bits_per_dimension=None, bits_standard_error=None)
    assert "bits/dim" not in experiment.table({"binary": binary})
    mixed = experiment.table({"grey": results, "binary": binary}).splitlines()
    assert len({len(line) for line in mixed}) == 1
    assert experiment.evaluate(coins(dataset().mean), dataset(), num_samples=4)[0].bits_per_dimension is None
    pseudo = VAE(StandardNormal(2), GreyBernoulliLikelihood(nn.Linear(2, 6)), GaussianPosterior(nn.Linear(6, 4)))
    assert experiment.evaluate(pseudo, grey, num_samples=4)[0].bits_per_dimension is None


@pytest.mark.slow
def test_bits_are_those_of_the_data_alone():
    """Grey levels that are all equally likely cost 8 bits per pixel; only their own 256 bins may be counted in bits."""
    levels = torch.arange(256).repeat(6).reshape(6, 16, 16) / 255
    grey = Dataset.from_tensors(levels, test=levels, num_bins=256)
    binary = Dataset.from_tensors(levels.round(), test=levels.round())

    def bits(likelihood, data=grey):
        model = VAE(StandardNormal(1), likelihood, GaussianPosterior(nn.Linear(256, 2)))
        found = experiment.evaluate(model, data, num_samples=20)[0].bits_per_dimension
        assert (found is not None) == has_bits(model, data)
        return found

    def pixelcnn(num_bins):
        net = PixelCNN((1, 16, 16), 1, hidden=2, layers=1, outputs=1 if num_bins is None else 2)
        return PixelCNNLikelihood(nn.Linear(1, 256), net, num_bins)

    assert bits(DiscretizedLogisticLikelihood(nn.Linear(1, 512), num_bins=256)) > 8
    assert bits(pixelcnn(256)) > 8
    for other in (16, 257):
        assert bits(DiscretizedLogisticLikelihood(nn.Linear(1, 512), num_bins=other)) is None
        assert bits(pixelcnn(other)) is None
    assert bits(GaussianLikelihood(nn.Linear(1, 256), scale=0.01)) is None
    assert bits(pixelcnn(None), binary) is None


def test_spread_covers_the_rows_evenly():
    assert evenly_spaced(10, 10).tolist() == list(range(10))
    steps = evenly_spaced(1000, 36).diff()
    assert steps.min() == 27
    assert steps.max() == 28
