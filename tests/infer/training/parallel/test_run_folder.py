"""The run folder of several processes, and what one of them does for all."""

import pytest
import torch
from process_group import run_processes
from toy_pairs import small_vae

from pyrodgm.datasets import Dataset, Split
from pyrodgm.infer import Callback, FitSettings, fit
from pyrodgm.processes import alone

X = torch.rand(23, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64).round()

SPLIT = Split(X, torch.zeros(23, dtype=torch.int64))
LABELLED = Dataset("made", SPLIT, SPLIT, SPLIT, (1, 1, 8), "binary", "none")


class Count(Callback):
    """Stops after five steps; it is told of all that happens in the first process alone."""

    def __init__(self):
        self.steps = self.epochs = 0

    def on_step(self, moment):
        self.steps += 1
        return self.steps == 5

    def on_epoch(self, moment):
        self.epochs += 1


def train(folder, epochs=3, resume=False, seed=0, **settings):
    torch.manual_seed(seed)
    pair = small_vae(8, 2, 4)
    options = FitSettings(progress=False, valid=X[:7], **settings)
    result = fit(pair, X, epochs=epochs, batch_size=6, run_dir=folder, resume=resume, settings=options)
    return {name: value.clone() for name, value in pair.state_dict().items()}, result.metrics


@pytest.mark.slow
def test_a_run_of_two_processes_is_resumed_by_one_and_by_three(tmp_path):
    run = tmp_path / "run"
    whole, rows = train(None)
    # the processes begin with other weights, and end with those of the first
    run_processes(2, lambda rank: train(run, epochs=1, seed=rank), tmp_path)
    train(run, epochs=2, resume=True)
    for weights, metrics in run_processes(3, lambda rank: train(run, resume=True), tmp_path):
        for name, value in whole.items():
            torch.testing.assert_close(weights[name], value, rtol=1e-10, atol=1e-12)
        assert [row["valid_bound"] for row in metrics] == pytest.approx([row["valid_bound"] for row in rows])
    written = sorted(file.name for file in run.iterdir())
    assert {"state.pt", "best.safetensors", "metrics.csv"} <= {*written}
    assert not [name for name in written if name.endswith(".part")]


def errors(folder):
    try:
        train(folder)
    except Exception as error:
        return type(error).__name__, str(error)
    return None


def test_what_the_first_process_cannot_do_ends_all(tmp_path):
    run = tmp_path / "run"
    train(run, epochs=1)
    (kind, text), (other, message) = run_processes(2, lambda rank: errors(run), tmp_path)
    assert (kind, other) == ("FileExistsError", "ProcessError")
    assert message == f"the first process failed: FileExistsError: {text}"


def counted(rank):
    callback = Count()
    _, metrics = train(None, callbacks=[callback])
    return callback.steps, callback.epochs, len(metrics), metrics[-1]["step"]


@pytest.mark.slow
def test_callbacks_act_once(tmp_path):
    assert run_processes(2, counted, tmp_path) == [(5, 2, 2, 5), (0, 0, 2, 5)]


def refusals(rank):
    with pytest.raises(ValueError, match="labelled_batch_size must be None where 2 processes"):
        fit(small_vae(8, 2, 4), LABELLED, epochs=1, settings=FitSettings(labelled_batch_size=2, progress=False))
    with alone():
        return train(None)[0]


@pytest.mark.slow
def test_what_cannot_be_shared_is_refused_and_done_alone(tmp_path):
    expected, _ = train(None)
    for weights in run_processes(2, refusals, tmp_path):
        assert all(torch.equal(weights[name], value) for name, value in expected.items())
