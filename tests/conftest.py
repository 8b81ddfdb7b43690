"""Every test starts from the same state and leaves none behind."""

import contextlib
import io
import multiprocessing
import os
import runpy
import shutil
import sys
from collections import Counter
from pathlib import Path

import made_data
import missing
import mpmath
import pyro
import pytest
import torch
from example_runs import EXAMPLES, TINY

# The tensors are small, and threads that wait for each other are slow on a busy machine.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
mpmath.mp.dps = 60  # digits of the oracles, whichever files are collected

SLOW_FOLDERS = {"benchmarks", "cli", "examples", "experiment", "figures", "plots", "testing", "zoo"}
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def clean_state():
    torch.set_default_dtype(torch.float64)
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    pyro.enable_validation(True)
    yield
    torch.set_default_dtype(torch.float32)
    assert torch.distributions.Distribution._validate_args, "arguments of distributions are no longer checked"


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with the published files; tests that compare with these are skipped where there are none."""
    root = Path(os.environ.get("PYRODGM_DATA") or SHARED_DATA)
    if not root.is_dir():
        pytest.skip(missing.DATA)
    return root


@pytest.fixture(scope="session")
def made_files(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return root, made_data.write(root, made_data.contents())


@pytest.fixture
def made_root(made_files, monkeypatch) -> Path:
    """Folder with small data sets in the formats of the published ones, which the readers take for these."""
    root, known = made_files
    made_data.accept(monkeypatch, known)
    return root


@pytest.fixture(scope="session")
def forkserver():
    """Starts processes as copies of one that has imported what a run with a folder needs, which takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["pyrodgm.infer", "pyrodgm.models", "torch._dynamo", "torch.utils.tensorboard", "safetensors.torch", "pytest"]
    )
    return context


@pytest.fixture
def as_a_script():
    """What a fresh interpreter would have."""
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def launch(as_a_script, monkeypatch, capsys):
    """Runs an example by its command line and gives what it prints."""

    def launch(command):
        name, *arguments = command.split()
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return launch


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """Run folder of the example ``vampprior.py`` with tiny sizes, which no test changes, and what was printed."""
    folder, printed = tmp_path_factory.mktemp("trained") / "run", io.StringIO()
    torch.set_default_dtype(torch.float32)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", ["vampprior.py", *TINY.split(), "--run", str(folder), "--no-figures"])
        runpy.run_path(str(EXAMPLES / "vampprior.py"), run_name="__main__")
    return folder, printed.getvalue()


@pytest.fixture
def tiny_run(trained_run, tmp_path):
    """A copy of that run."""
    return Path(shutil.copytree(trained_run[0], tmp_path / "tiny"))


def pytest_collection_modifyitems(items):
    """Whole folders that train, draw figures or start programs are slow."""
    tests = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(tests) and item.path.relative_to(tests).parts[0] in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter):
    """One line on what was not tested here, and how to get it tested."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    if reasons:
        counted = "; ".join(f"{count} for want of {reason}" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"Tests that were skipped: {counted}.")
