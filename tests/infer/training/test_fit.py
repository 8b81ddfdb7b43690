"""Training: what it learns, what it writes, and that nothing is lost however it ends."""

import json
import math
import os
import signal
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from pyro.nn import PyroParam, pyro_method
from torch import nn
from toy_pairs import small_vae

from pyrodgm import datasets
from pyrodgm.infer import (
    ELBO,
    IWELBO,
    DamagedFileError,
    FitSettings,
    NonFiniteError,
    fit,
    load_weights,
    log_likelihood,
)
from pyrodgm.infer.training.checkpoint import load_state
from pyrodgm.infer.training.loggers import read_csv
from pyrodgm.infer.training.settings import fit_arguments
from pyrodgm.models import Pair


def build(seed=0):
    """A pair with everything that a run must keep: shared parameters, running statistics, trainable pseudo-inputs."""
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Linear(64, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 8))
    return small_vae(64, 4, 20, pseudo_inputs=5, mean=0.3, encoder=encoder)


def small_data():
    data = datasets.load("digits")
    return datasets.Dataset.from_tensors(
        data.train.images[:250], data.valid.images[:100], binarization="dynamic", image_shape=(1, 8, 8)
    )


def train(run_dir, epochs=4, **kwargs):
    options = {
        "batch_size": 50,
        "kl_warmup": 2.0,
        "patience": 10,
        "seed": 3,
        "lr_scheduler": partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9),
        "clip_grad_norm": 5.0,
        "progress": False,
    }
    pair = build()
    result = fit(pair, small_data(), epochs=epochs, **fit_arguments(run_dir=run_dir, **{**options, **kwargs}))
    return pair, result


def same(first, second):
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def train_and_die(run_dir, moment, count, threads):
    """Body of a process that kills itself at the ``count``-th file that it puts in place."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(threads)
    seen = 0
    replace, fsync = os.replace, os.fsync

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def counting_replace(source, target):
        nonlocal seen
        seen += 1
        if seen == count and moment == "before":
            die()
        replace(source, target)
        if seen == count and moment == "after":
            die()

    def tearing_fsync(descriptor):
        if seen + 1 == count and moment == "during":
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            fsync(descriptor)
            die()
        fsync(descriptor)

    os.replace, os.fsync = counting_replace, tearing_fsync
    train(run_dir, resume=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    torch.set_default_dtype(torch.float64)
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(folder)[0]


# Three files describe the run; then each epoch puts state.pt, best.safetensors, metrics.csv and times.csv in place.
# A kill before each of them is in test_run_folder.py, at any moment in benchmarks/test_resume_kills.py.
@pytest.mark.slow
@pytest.mark.parametrize(("moment", "count"), [("during", 8), ("after", 13)])
def test_killed_run_resumes_bit_for_bit(forkserver, uninterrupted, tmp_path, moment, count):
    process = forkserver.Process(target=train_and_die, args=(tmp_path, moment, count, torch.get_num_threads()))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / "metrics.csv").read_text().count("\n") < 5
    pair, _ = train(tmp_path, resume=True)
    folder, whole = uninterrupted
    assert same(pair, whole)
    for name in ("metrics.csv", "best.safetensors", "config.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.slow
def test_stopping_and_going_on_is_the_same_as_going_through(uninterrupted, tmp_path):
    train(tmp_path, epochs=2)
    pair, result = train(tmp_path, epochs=4, resume=True)
    assert same(pair, uninterrupted[1])
    assert [row["epoch"] for row in result.metrics] == [1, 2, 3, 4]
    assert len(result.seconds) == 4
    again, _ = train(tmp_path, epochs=4, resume=True)  # nothing left to do
    assert same(again, pair)


@pytest.mark.slow
def test_validation_now_and_then_leaves_training_as_it_is(tmp_path, monkeypatch):
    """Of five epochs the second, the fourth and the last are validated, also where the run goes on after the third."""
    _, plain = train(None, epochs=5)
    _, result = train(tmp_path / "whole", epochs=5, valid_every=2)
    bounds = [row["valid_bound"] for row in result.metrics]
    assert [math.isnan(bound) for bound in bounds] == [True, False, True, False, False]
    for row, every in zip(result.metrics, plain.metrics, strict=True):
        rest = row.items() - {("valid_bound", row["valid_bound"])}
        assert rest == every.items() - {("valid_bound", every["valid_bound"])}
        assert row["valid_bound"] == every["valid_bound"] or math.isnan(row["valid_bound"])
    assert result.best_bound == max(bounds[1], bounds[3], bounds[4]) == bounds[result.best_epoch - 1]

    def scheduler(optimizer):
        def factor(epoch):
            if str(epoch) == os.environ.get("END"):
                raise KeyboardInterrupt
            return 0.9**epoch

        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    options = {"epochs": 5, "valid_every": 2, "lr_scheduler": scheduler}
    whole, _ = train(tmp_path / "uncut", **options)
    monkeypatch.setenv("END", "4")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", **options)
    assert len(read_csv(tmp_path / "parts" / "metrics.csv")) == 3
    monkeypatch.delenv("END")
    resumed, _ = train(tmp_path / "parts", resume=True, **options)
    assert same(resumed, whole)
    for name in ("metrics.csv", "best.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "uncut" / name).read_bytes()
    rows = read_csv(tmp_path / "whole" / "metrics.csv")
    assert [row["valid_bound"] for row in rows] == pytest.approx(bounds, nan_ok=True)


def test_patience_ends_at_a_validation():
    still = {"optimizer": partial(torch.optim.SGD, lr=0.0), "batch_size": 50, "progress": False}
    result = fit(small_vae(64, 4, 20), small_data(), epochs=50, **fit_arguments(patience=4, valid_every=3, **still))
    assert (result.best_epoch, len(result.metrics)) == (3, 9)


def test_run_folder_holds_what_it_should(uninterrupted):
    folder, pair = uninterrupted
    rows = read_csv(folder / "metrics.csv")
    assert [row["kl_weight"] for row in rows] == [0.5, 1.0, 1.0, 1.0]
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    assert [row["learning_rate"] for row in rows] == pytest.approx([1e-3 * 0.9**i for i in range(4)])
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"]["batch_size"] == 50
    assert config["versions"]["torch"] == torch.__version__
    fresh = build(seed=9)
    load_weights(fresh, folder / "best.safetensors")
    assert same(fresh, pair)


def test_tensorboard_has_the_metrics_too(uninterrupted):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, _ = uninterrupted
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    rows = read_csv(folder / "metrics.csv")
    assert [e.step for e in events.Scalars("valid_bound")] == [row["step"] for row in rows]
    bounds = [e.value for e in events.Scalars("valid_bound")]
    assert bounds == pytest.approx([row["valid_bound"] for row in rows], rel=1e-5)


@pytest.mark.slow
def test_progress_bar_shows_the_running_bound(capsys):
    _, result = train(None, epochs=2, progress=True)
    shown = capsys.readouterr().err
    assert f"train={result.metrics[-1]['train_bound']:.2f}" in shown
    assert "10/10" in shown


@pytest.mark.slow
def test_without_a_folder_the_result_is_the_same(uninterrupted):
    assert same(train(None)[0], uninterrupted[1])


class Linear(Pair):
    """The bound is that of a product of the data, blown up so that the last digit shows."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(64, 40)

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0).expand([40]).to_event(1), obs=torch.sin(2.0**40 * self.net(x)))

    @pyro_method
    def guide(self, x):
        pass


def test_where_the_data_lie_in_memory_changes_no_digit():
    """Validation reads them in place, and products of unaligned memory round otherwise."""
    x = torch.rand(300, 64, generator=torch.Generator().manual_seed(2))

    def bounds(x):
        torch.manual_seed(0)
        pair, data = Linear(), datasets.Dataset.from_tensors(x[:200], x[200:])
        metrics = fit(pair, data, epochs=2, optimizer=partial(torch.optim.SGD, lr=0.0)).metrics
        return metrics, log_likelihood(pair, x, 1).mean

    elsewhere = torch.empty(x.numel() + 1)[1:].view_as(x).copy_(x)
    assert bounds(elsewhere) == bounds(x)


def test_traps_around_resuming(tmp_path):
    train(tmp_path, epochs=1)
    with pytest.raises(FileExistsError, match="resume=True"):
        train(tmp_path, epochs=2)
    with pytest.raises(ValueError, match=r"batch_size: was 50, is 40"):
        train(tmp_path, epochs=2, resume=True, batch_size=40)
    state = tmp_path / "state.pt"
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFileError, match=r"state\.pt is damaged"):
        train(tmp_path, epochs=2, resume=True)
    middle = len(whole) // 2
    state.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(DamagedFileError, match=r"state\.pt is damaged"):
        train(tmp_path, epochs=2, resume=True)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DamagedFileError, match=r"config\.json is damaged"):
        train(tmp_path, epochs=2, resume=True)
    best = tmp_path / "best.safetensors"
    whole = best.read_bytes()
    best.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamagedFileError, match=r"best\.safetensors is damaged: .*expected"):
        load_weights(build(), best)
    best.write_bytes(whole[:-100])
    with pytest.raises(DamagedFileError, match=r"best\.safetensors is damaged"):
        load_weights(build(), best)


class Explosive(Pair):
    """Its likelihood, or the gradient of its guide, is NaN from the ``at``-th training pass on."""

    def __init__(self, at, where):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))
        self.register_buffer("passes", torch.zeros(()))
        self.at, self.where = at, where

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with torch.no_grad():
                self.passes += self.training
            bad = math.nan if self.where == "value" else 1.0
            scale = torch.where(self.passes > self.at, bad, 1.0)
            pyro.sample("x", dist.Normal(z[:, None] * scale, 1.0).expand([len(x), 4]).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x)):
            active = (self.passes >= self.at) * float(self.where == "gradient")
            gap = self.loc - self.loc.detach()
            pyro.sample("z", dist.Normal(self.loc + active * (gap + 1.0 - active).sqrt(), 1.0))  # a slope 1/0 if active


@pytest.mark.parametrize(("where", "cause"), [("value", "log_prob of x in the model"), ("gradient", "value of loc")])
@pytest.mark.parametrize("at", [3, 9])
def test_nan_stops_with_step_and_site_and_keeps_the_last_good_state(tmp_path, where, cause, at):
    x = torch.rand(40, 4)
    pair = Explosive(at, where)
    with pytest.raises(NonFiniteError, match=f"not finite at step {at}") as caught:
        fit(pair, x, epochs=5, batch_size=8, run_dir=tmp_path, settings=FitSettings(progress=False))
    assert caught.value.step == at
    assert cause in caught.value.causes
    assert all(torch.isfinite(p).all() for p in pair.parameters())
    epochs = at // 5
    assert (tmp_path / "state.pt").exists() == (epochs > 0)
    if epochs:
        assert load_state(tmp_path / "state.pt")["epoch"] == epochs
        calm = Explosive(math.inf, where)
        with pytest.raises(ValueError, match=rf"attributes\.at: was {at}"):
            fit(calm, x, epochs=5, batch_size=8, run_dir=tmp_path, resume=True)


def test_nan_before_a_smaller_batch_is_told_from_a_mistake_in_the_program():
    """The first step on a batch of another shape runs with the checks of Pyro on, here on parameters that are NaN."""
    pair = small_vae(64, 4, 20)
    with pytest.raises(NonFiniteError, match=r"not finite at step \d: ") as caught:
        fit(
            pair,
            small_data(),
            epochs=3,
            batch_size=40,
            optimizer=partial(torch.optim.SGD, lr=1e4),
            settings=FitSettings(progress=False),
        )
    assert caught.value.causes
    assert all(torch.isfinite(p).all() for p in pair.parameters())


class Shaky(Pair):
    """Its likelihood is NaN in one pass, which no state that could be brought back decides."""

    def __init__(self, at):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))
        self.passes, self.at = 0, at

    @pyro_method
    def model(self, x):
        self.passes += 1
        with pyro.plate("data", len(x)):
            scale = math.nan if self.passes == self.at else 1.0
            pyro.sample("x", dist.Normal(self.loc * scale, 1.0, validate_args=False).expand([len(x)]), obs=x[:, 0])

    @pyro_method
    def guide(self, x):
        pass


def test_fault_that_does_not_recur_is_blamed_on_no_step():
    x = torch.rand(40, 4)
    pair = Shaky(at=14)
    with pytest.raises(NonFiniteError, match="in the epoch that begins with step 5: the fault did not recur") as caught:
        fit(pair, x, epochs=5, batch_size=8, settings=FitSettings(compile="eager", progress=False))
    assert caught.value.step is None
    assert torch.isfinite(pair.loc)


@pytest.mark.slow
def test_early_stopping_waits_for_the_warm_up_and_brings_the_best_back():
    x = small_data()
    pair = build()
    steep = {"optimizer": partial(torch.optim.SGD, lr=0.0), "batch_size": 50, "progress": False}
    result = fit(pair, x, epochs=50, **fit_arguments(patience=3, kl_warmup=4, **steep))
    assert len(result.metrics) == 7  # nothing gets better after the first epochs: 4 of warm-up, then 3
    bounds = [row["valid_bound"] for row in result.metrics]
    assert result.best_bound == max(bounds)
    assert result.best_epoch == bounds.index(max(bounds)) + 1
    result = fit(
        build(),
        x,
        epochs=8,
        batch_size=50,
        optimizer=partial(torch.optim.Adam, lr=0.1),
        settings=FitSettings(progress=False),
    )
    bounds = [row["valid_bound"] for row in result.metrics]
    assert result.best_bound == max(bounds)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this pair cannot be traced")  # Trace_ELBO reads numbers off tensors
def test_pyro_estimators_and_constrained_parameters_train_too():
    class Constrained(Pair):
        def __init__(self):
            super().__init__()
            self.loc = nn.Parameter(torch.tensor(2.0))
            self.scale = PyroParam(torch.tensor(3.0), constraint=dist.constraints.positive)

        @pyro_method
        def model(self, x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, 0])

        @pyro_method
        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(self.loc, self.scale))

    x = torch.full((200, 1), 1.0)
    for objective in (Trace_ELBO(), ELBO(), IWELBO(2, gradient="dreg")):
        pair = Constrained()
        fit(
            pair,
            x,
            epochs=60,
            objective=objective,
            optimizer=partial(torch.optim.Adam, lr=0.05),
            settings=FitSettings(progress=False),
        )
        assert pair.loc.item() == pytest.approx(0.5, abs=0.1)
        assert pair.scale.item() == pytest.approx(math.sqrt(0.5), abs=0.1)
    assert len(pyro.get_param_store()) == 0


@pytest.mark.slow
def test_fit_leaves_the_random_state_and_the_objective_alone():
    objective = ELBO(kl_weight=0.5)
    pair, data = build(), small_data()
    before = torch.get_rng_state()
    fit(pair, data, epochs=1, kl_warmup=3, objective=objective, settings=FitSettings(progress=False))
    assert torch.equal(torch.get_rng_state(), before)
    assert objective.kl_weight == 0.5


def test_bad_arguments_are_named():
    for bad in (
        {"epochs": 0},
        {"batch_size": 0},
        {"kl_warmup": -1},
        {"patience": 0},
        {"valid_every": 0},
        {"clip_grad_norm": 0.0},
        {"clip_grad_norm": -1.0},
        {"clip_grad_norm": math.nan},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} must be"):
            fit(build(), small_data(), **fit_arguments(**{"epochs": 1, **bad}))
    with pytest.raises(ValueError, match="patience must be None"):
        fit(build(), torch.rand(10, 64).round(), epochs=1, patience=1)
    with pytest.raises(ValueError, match="kl_warmup must be 0"):
        fit(build(), torch.rand(10, 64).round(), epochs=1, kl_warmup=1, objective=Trace_ELBO())


def test_shape_mistake_is_reported_with_the_checks_of_pyro_on():
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fit(build(), torch.rand(10, 65), epochs=1)
