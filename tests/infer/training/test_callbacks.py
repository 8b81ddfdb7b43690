"""Callbacks and loggers: when they are called, and what they get."""

import csv
import math
import threading
from functools import partial

import missing
import pytest
import torch

from pyrodgm.infer import (
    Callback,
    CSVLogger,
    FitSettings,
    MLflowLogger,
    NonFiniteError,
    TensorBoardLogger,
    WandbLogger,
    fit,
)
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal

X = (torch.rand(30, 4, generator=torch.Generator().manual_seed(0)) < 0.5).to(torch.float64)
OPTIONS = {"batch_size": 10, "optimizer": partial(torch.optim.SGD, lr=0.01)}


def build():
    torch.manual_seed(0)
    return VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [3], 4)), GaussianPosterior(mlp(4, [3], 4)))


class Diary(Callback):
    """Writes down what it is called with; wants to stop at one event."""

    def __init__(self, stop=None):
        self.entries, self.stop = [], stop

    def write(self, event, moment):
        self.entries.append((event, moment.epoch, moment.step))
        return (event, moment.step) == self.stop

    def on_step(self, moment):
        assert math.isfinite(moment.loss)
        return self.write("step", moment)

    def on_validate(self, moment):
        assert moment.metrics["valid_bound"] < 0
        return self.write("validate", moment)

    def on_epoch(self, moment):
        assert moment.metrics["epoch"] == moment.epoch
        return self.write("epoch", moment)

    def on_end(self, moment):
        assert not moment.pair.training
        self.write("end", moment)


def run(callbacks=(), loggers=(), epochs=2, **options):
    settings = FitSettings(callbacks=callbacks, loggers=loggers, valid=X, progress=False, **options)
    return fit(build(), X, epochs=epochs, settings=settings, **OPTIONS)


@pytest.mark.slow
def test_callbacks_are_called_in_order_and_change_nothing():
    diary = Diary()
    result = run([diary, Callback()])
    epochs = [
        [("step", e, 3 * e + i) for i in (1, 2, 3)] + [("validate", e, 3 * e + 3), ("epoch", e + 1, 3 * e + 3)]
        for e in range(2)
    ]
    assert diary.entries == [*epochs[0], *epochs[1], ("end", 2, 6)]
    assert result.metrics == run().metrics


@pytest.mark.parametrize(
    ("stop", "steps"), [(("step", 2), [2]), (("validate", 3), [3]), (("epoch", 3), [3]), (("step", 4), [3, 4])]
)
def test_a_callback_stops_training_which_ends_with_a_validation(stop, steps):
    first, second = Diary(stop), Diary()
    result = run([first, second], epochs=5, valid_every=4 if stop[0] == "step" else 1)
    assert [row["step"] for row in result.metrics] == steps
    assert math.isfinite(result.metrics[-1]["valid_bound"])
    assert first.entries == second.entries
    assert first.entries[-1] == ("end", len(steps), steps[-1])


class Memory:
    """A logger that keeps everything."""

    def __init__(self):
        self.seen = []

    def begin(self, config, step):
        self.seen.append(("begin", config["batch_size"], step))

    def log(self, metrics, step):
        self.seen.append((metrics["epoch"], step))

    def end(self):
        self.seen.append("end")


def test_loggers_get_the_metrics_and_are_ended_whatever_happens():
    memory = Memory()
    run(loggers=[memory])
    assert memory.seen == [("begin", 10, 0), (1, 3), (2, 6), "end"]
    memory, scores = Memory(), iter([1.0, math.nan])
    with pytest.raises(NonFiniteError):
        run(loggers=[memory], valid_score=lambda pair, data: next(scores))
    assert memory.seen == [("begin", 10, 0), (1, 3), "end"]


@pytest.mark.slow
def test_a_table_is_written_and_gone_on_with(tmp_path):
    def go(epochs, folder, **options):
        settings = FitSettings(loggers=[CSVLogger(tmp_path / f"{folder}.csv")], progress=False)
        return fit(build(), X, epochs=epochs, run_dir=tmp_path / folder, settings=settings, **OPTIONS, **options)

    result = go(3, "whole")
    with (tmp_path / "whole.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_bound"]) for row in rows] == [row["train_bound"] for row in result.metrics]
    go(1, "parts")
    go(3, "parts", resume=True)
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.slow
def test_no_thread_is_left_behind(tmp_path):
    before = threading.active_count()
    for i in range(3):
        run(loggers=[TensorBoardLogger(tmp_path / str(i))])
    assert threading.active_count() == before
    assert len(list(tmp_path.glob("*/events*"))) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_mlflow_keeps_them_in_its_local_store(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    tracking = pytest.importorskip("mlflow.tracking", reason=missing.library("mlflow-skinny"))
    uri = (tmp_path / "runs").as_uri()
    logger = MLflowLogger("tests", uri)
    result = run(loggers=[logger], config={"data": "none"})
    client = tracking.MlflowClient(uri)
    kept = client.get_run(logger.run_id)
    assert kept.info.status == "FINISHED"
    assert kept.data.params["config.data"] == "none"
    history = client.get_metric_history(logger.run_id, "valid_bound")
    assert [(m.step, m.value) for m in history] == [(row["step"], row["valid_bound"]) for row in result.metrics]
    fit_on = MLflowLogger("tests", uri, run_id=logger.run_id)
    run(loggers=[fit_on])
    assert len(client.get_metric_history(logger.run_id, "valid_bound")) == 4


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_weights_and_biases_keeps_them_without_a_network(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason=missing.library("wandb"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(project="tests", mode="offline", dir=str(tmp_path))
    result = run(loggers=[logger], config={"data": "none"})
    assert wandb.run is None  # ended
    assert logger.run.config["config.data"] == "none"
    wandb.teardown()  # which waits for the process that writes the file
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    written = kept.read_bytes()
    for row in result.metrics:
        assert repr(row["valid_bound"]).encode() in written
