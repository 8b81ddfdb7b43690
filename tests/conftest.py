"""Every test starts from the same state and leaves none behind."""

import os
import runpy
import sys
from pathlib import Path

import pyro
import pytest
import torch
from example_runs import EXAMPLES

# The tensors are small, and threads that wait for each other are slow on a busy machine.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))

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
    """Folder with the public data sets; tests that need it are skipped where there is none."""
    root = Path(os.environ["PYRODGM_DATA"]) if "PYRODGM_DATA" in os.environ else SHARED_DATA
    if not root.is_dir():
        pytest.skip("no data sets here: set PYRODGM_DATA to a folder that has them")
    return root


@pytest.fixture
def as_a_script(monkeypatch):
    """What a fresh interpreter would have."""
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float32)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    torch.set_num_threads(threads)
    for file in EXAMPLES.glob("*.py"):
        sys.modules.pop(file.stem, None)


@pytest.fixture
def launch(as_a_script, monkeypatch, capsys):
    """Runs an example by its command line and gives what it prints."""

    def launch(command):
        name, *arguments = command.split()
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return launch
