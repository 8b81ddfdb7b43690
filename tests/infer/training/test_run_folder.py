import json
import logging
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

import pyrodgm
from pyrodgm.datasets import Dataset
from pyrodgm.infer import ELBO, IWELBO, DamagedFileError, FitSettings, fit
from pyrodgm.infer.training.checkpoint import load_state, save_state
from pyrodgm.infer.training.folder_lock import FolderInUseError, FolderLock
from pyrodgm.infer.training.schedules import BurdaSchedule
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal, VampPrior

FILES = ("config.json", "pair.json", "state.pt", "best.safetensors", "metrics.csv", "times.csv")
WRITTEN_AGAIN = ("config.json", "best.safetensors", "metrics.csv", "times.csv")


def pair(latent=2, width=4, seed=0):
    torch.manual_seed(seed)
    posterior = GaussianPosterior(mlp(6, [width], 2 * latent))
    prior = VampPrior(posterior, torch.rand(3, 6))
    return VAE(prior, BernoulliLikelihood(mlp(latent, [width], 6)), posterior)


def data(seed=1, count=20):
    images = torch.rand(count, 6, generator=torch.Generator().manual_seed(seed)).round()
    return Dataset.from_tensors(images, valid=images[:5])


def train(run_dir, epochs=2, resume=False, model=None, images=None, objective=None, optimizer=None, **settings):
    model, images = pair() if model is None else model, data() if images is None else images
    settings = FitSettings(compile="eager", progress=False, **settings)
    options = {"objective": objective, "optimizer": optimizer, "settings": settings}
    return model, fit(model, images, epochs=epochs, batch_size=8, run_dir=run_dir, resume=resume, **options)


def contents(folder, names=FILES):
    return {name: (folder / name).read_bytes() for name in names if name not in ("times.csv", "state.pt")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_default_dtype(torch.float64)
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(folder)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.mark.parametrize("name", FILES)
def test_a_lost_file_is_never_an_empty_folder(run, name):
    before = contents(run)
    (run / name).unlink()
    if name != "pair.json":  # without which the others are a run all the same
        with pytest.raises(FileExistsError, match="holds a run"):
            train(run)
    if name == "state.pt":
        with pytest.raises(FileNotFoundError, match=r"state\.pt is missing.*best\.safetensors"):
            train(run, resume=True)
    elif name in WRITTEN_AGAIN:
        _, result = train(run, resume=True)  # nothing is left to do
        assert len(result.metrics) == 2
        assert contents(run) == before
        assert (run / "times.csv").read_text().count("\n") == 3
    assert {file: content for file, content in before.items() if file != name}.items() <= contents(
        run, [file for file in FILES if (run / file).exists()]
    ).items()


def test_everything_but_the_state_may_be_lost(run, caplog):
    before = contents(run)
    for name in WRITTEN_AGAIN:
        (run / name).unlink()
    with caplog.at_level(logging.WARNING):
        train(run, epochs=2, resume=True)
    assert contents(run) == before
    assert all(f"{name} is missing and is written again" in caplog.text for name in WRITTEN_AGAIN)


def test_a_run_goes_on_after_files_were_lost(run, tmp_path):
    whole, _ = train(tmp_path / "whole", epochs=4)
    for name in WRITTEN_AGAIN:
        (run / name).unlink()
    model, _ = train(run, epochs=4, resume=True)
    assert all(a.equal(b) for a, b in zip(model.parameters(), whole.parameters(), strict=True))
    assert contents(run) == contents(tmp_path / "whole")


@pytest.mark.parametrize("name", ["config.json", "state.pt", "best.safetensors", "metrics.csv", "times.csv"])
@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"\x00" * 50, lambda b: b"[]"])
def test_a_damaged_file_is_named_and_everything_stays(run, name, damage):
    whole = (run / name).read_bytes()
    (run / name).write_bytes(damage(whole))
    before = contents(run)
    with pytest.raises(DamagedFileError, match=name.replace(".", r"\.")):
        train(run, epochs=3, resume=True)
    assert contents(run) == before


def test_files_of_another_run_are_told(run, tmp_path):
    train(tmp_path / "other", images=data(seed=2))
    for name in ("config.json", "best.safetensors", "metrics.csv"):
        whole = (run / name).read_bytes()
        (run / name).write_bytes((tmp_path / "other" / name).read_bytes())
        with pytest.raises(DamagedFileError, match=name.replace(".", r"\.")):
            train(run, epochs=3, resume=True)
        (run / name).write_bytes(whole)
    (run / "state.pt").write_bytes((tmp_path / "other" / "state.pt").read_bytes())
    with pytest.raises(DamagedFileError, match=r"config\.json is not that of the run in state\.pt"):
        train(run, epochs=3, resume=True)


@pytest.mark.parametrize(
    "edit",
    [
        lambda state: state.clear(),
        lambda state: state.pop("run"),
        lambda state: state.pop("optimizer"),
        lambda state: state.pop("rows"),
        lambda state: state.pop("cpu_rng"),
        lambda state: state.update(weights={"a": torch.ones(2)}),
        lambda state: state.update(optimizer={"state": {}, "param_groups": []}),
        lambda state: state.update(best_weights=None),
        lambda state: state.update(cpu_rng=torch.zeros(3)),
        lambda state: state.update(rows=3),
        lambda state: state["weights"].update({"prior.raw_inputs": torch.ones(7)}),
        lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.ones(7)),
        lambda state: state["best_weights"].update({"prior.raw_inputs": torch.ones(7)}),
    ],
)
def test_a_sealed_state_of_other_content_is_damaged_and_the_pair_stays(run, edit):
    state = load_state(run / "state.pt")
    edit(state)
    save_state(state, run / "state.pt")
    model = pair()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(DamagedFileError, match=r"state\.pt"):
        train(run, epochs=3, resume=True, model=model)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


class Slower:
    """A factory without attributes that could be compared."""

    __slots__ = ("rate",)

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, parameters):
        return torch.optim.SGD(parameters, lr=self.rate)


RATE = 0.1


def by_closure(rate):
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


def by_name(parameters):
    return torch.optim.SGD(parameters, lr=RATE)


IMAGES = torch.rand(20, 6, generator=torch.Generator().manual_seed(3)).double().round()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({"objective": IWELBO(2)}, {"objective": IWELBO(50)}, "objective.num_particles: was 2, is 50"),
        ({"objective": ELBO()}, {"objective": ELBO(kl_weight=0.1)}, "objective.kl_weight: was 1.0, is 0.1"),
        ({"objective": ELBO()}, {"objective": IWELBO(2)}, "objective.class: was '.*ELBO', is '.*IWELBO'"),
        (
            {"objective": ELBO(divergence=lambda q, p, value: kl_divergence(q, p))},
            {"objective": ELBO(divergence=lambda q, p, value: 2 * kl_divergence(q, p))},
            "objective.divergence.code: was",
        ),
        ({"optimizer": by_closure(0.1)}, {"optimizer": by_closure(0.2)}, "optimizer.rate: was 0.1, is 0.2"),
        (
            {"optimizer": lambda p: torch.optim.SGD(p, lr=0.1)},
            {"optimizer": lambda p: torch.optim.SGD(p, lr=0.2)},
            "optimizer.code: was",
        ),
        (
            {"optimizer": partial(torch.optim.SGD, lr=0.1)},
            {"optimizer": partial(torch.optim.SGD, lr=0.2)},
            "optimizer.lr: was 0.1, is 0.2",
        ),
        (
            {"lr_scheduler": partial(BurdaSchedule, epochs=3)},
            {"lr_scheduler": partial(BurdaSchedule, epochs=4)},
            "lr_scheduler.epochs: was 3, is 4",
        ),
        ({"lr_schedule": lambda s: 1 - s}, {"lr_schedule": None}, "lr_schedule.function: was '.*lambda.*is None"),
        ({"valid_score": lambda p, d: 1.0}, {"valid_score": lambda p, d: 2.0}, "valid_score.code: was"),
        ({"clip_grad_norm": 1.0}, {"clip_grad_norm": 2.0}, "clip_grad_norm: was 1.0, is 2.0"),
        ({}, {"images": data(seed=5)}, "data.training.digest: was '.*', is '"),
        ({}, {"images": data(count=21)}, "data.training.rows: was 20, is 21"),
        ({"images": (IMAGES,)}, {"images": (1 - IMAGES,)}, "data.training.digest"),
        ({"images": IMAGES.numpy()}, {"images": 1 - IMAGES.numpy()}, "data.training.digest"),
        (
            {},
            {"model": pair(width=5)},
            r"likelihood.modules.net.modules.0.modules.linear.attributes.out_features: was 8",
        ),
        ({}, {"model": pair(latent=3)}, r"shapes.*: was '\[.*\] torch.float64', is '\["),
    ],
)
def test_resuming_with_anything_that_decides_the_result_is_refused_by_name(tmp_path, before, after, message):
    train(tmp_path, epochs=1, **before)
    kept = contents(tmp_path)
    with pytest.raises(ValueError, match=message.replace(".", r"\.").replace(r"\.*", ".*").replace(r"\\.", r"\.")):
        train(tmp_path, epochs=2, resume=True, **{**before, **after})
    assert contents(tmp_path) == kept
    _, result = train(tmp_path, epochs=2, resume=True, **before)
    assert len(result.metrics) == 2


def test_a_global_value_that_a_factory_uses_is_compared_too(tmp_path, monkeypatch):
    train(tmp_path, epochs=1, optimizer=by_name)
    monkeypatch.setitem(globals(), "RATE", 0.3)
    with pytest.raises(ValueError, match=r"optimizer\.RATE: was 0\.1, is 0\.3"):
        train(tmp_path, resume=True, optimizer=by_name)


def test_what_cannot_be_compared_is_warned_of(tmp_path):
    train(tmp_path, epochs=1, optimizer=Slower(0.1))
    with pytest.warns(UserWarning, match=r"optimizer \(.*Slower\) is the same as when the run was begun cannot"):
        train(tmp_path, resume=True, optimizer=Slower(0.2))


def test_a_resumed_pair_may_be_in_any_mode(run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(run, epochs=3, resume=True, model=pair().eval())


HOLDER = """
import os, sys, time
from pathlib import Path
from pyrodgm.infer.training.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
if os.fork() == 0:  # a worker that outlives the run
    time.sleep(20)
    os._exit(0)
print("locked", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_one_process_at_a_time_and_none_after_its_death(run):
    before = contents(run)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "locked\n"
    try:
        with pytest.raises(FolderInUseError, match="in use by another run"):
            train(run, epochs=3, resume=True)
        with pytest.raises(FolderInUseError):
            train(run)
        assert contents(run) == before
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    train(run, epochs=3, resume=True)


def test_the_lock_is_released_when_a_run_ends_or_fails(tmp_path):
    def fail(pair, data):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        train(tmp_path, valid_score=fail)
    FolderLock(tmp_path).release()
    assert caught.value.__traceback__ is not None  # which still holds the frames of the run
    (tmp_path / ".lock").write_bytes(b"no database" * 100)
    with pytest.raises(OSError, match=r"cannot be locked.*\.lock"):
        train(tmp_path)


def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(tmp_path):
    whole, _ = train(tmp_path / "whole", epochs=3, model=pair(width=200))
    run = tmp_path / "run"
    train(run, epochs=1, model=pair(width=200))
    before = contents(run)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))  # files cannot grow past it
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            train(run, epochs=3, resume=True, model=pair(width=200))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(run / "state.pt")
    assert contents(run) == before
    assert not list(run.glob("*.part"))
    model, _ = train(run, epochs=3, resume=True, model=pair(width=200))
    assert all(a.equal(b) for a, b in zip(model.parameters(), whole.parameters(), strict=True))


def test_files_get_the_umask_of_the_user(tmp_path):
    before = os.umask(0o027)
    try:
        train(tmp_path, epochs=1)
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in FILES} == {0o640}


def test_a_run_is_a_saved_pair_too(run):
    model = pyrodgm.load(run)
    best, _ = train(run, resume=True)
    assert all(a.equal(b) for a, b in zip(model.parameters(), best.parameters(), strict=True))
    assert model.prior.posterior is model.posterior
    z = torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(model.prior().log_prob(z), best.prior().log_prob(z))
    assert "weights" not in json.loads((run / "pair.json").read_text())


def test_a_pair_that_cannot_be_written_trains_and_resumes_all_the_same(tmp_path):
    class Local(StandardNormal):
        pass

    def model(features=2):
        torch.manual_seed(0)
        return VAE(
            Local(features), BernoulliLikelihood(mlp(features, [4], 6)), GaussianPosterior(nn.Linear(6, 2 * features))
        )

    train(tmp_path, epochs=1, model=model())
    assert not (tmp_path / "pair.json").exists()
    with pytest.raises(ValueError, match=r"architecture\..*features: was 2, is 3"):
        train(tmp_path, resume=True, model=model(3))
    train(tmp_path, resume=True, model=model())


def killed(folder, count):
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    seen, replace = 0, os.replace

    def counted(source, target):
        nonlocal seen
        seen += 1
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = counted
    train(folder, epochs=2, resume=True)


@pytest.mark.slow
def test_a_kill_between_any_two_files_leaves_a_run_that_resumes(tmp_path, forkserver):
    torch.set_num_threads(1)
    whole, _ = train(tmp_path / "whole")
    processes = [forkserver.Process(target=killed, args=(tmp_path / str(count), count)) for count in range(1, 12)]
    for count, process in enumerate(processes, 1):
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        model, _ = train(tmp_path / str(count), resume=True)
        assert all(a.equal(b) for a, b in zip(model.parameters(), whole.parameters(), strict=True)), count
        assert contents(tmp_path / str(count)) == contents(tmp_path / "whole"), count
