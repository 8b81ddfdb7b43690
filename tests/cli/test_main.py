"""The subcommands of ``pyrodgm``; what each of them does is tested with the examples."""

import contextlib
import json

import pytest
import torch
from fresh_process import ROOT, run_python

from pyrodgm import cli, zoo
from pyrodgm.cli.train import current_names

TINY = "--data digits --components 3 --latent 2 --hidden 4 --epochs 1 --warmup 0 --num-samples 30 --num-images 6"


@pytest.fixture(autouse=True)
def single_precision():
    torch.set_default_dtype(torch.float32)


def test_systems_are_listed_and_offered(capsys):
    cli.main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(zoo.SYSTEMS)
    assert all(len(line.split()) > 4 for line in lines)
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in zoo.SYSTEMS)


@pytest.mark.parametrize("args", [["train", "vampprio"], ["evaluate"], ["frobnicate"], []])
def test_unknown_names_end_with_a_message(args, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(args)
    assert end.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.slow
def test_train_evaluate_compare(tmp_path, capsys):
    run = str(tmp_path / "run")
    cli.main(["train", "vampprior", *TINY.split(), "--run", run, "--no-figures"])
    trained = capsys.readouterr().out
    cli.main(["evaluate", run, "--no-figures"])
    evaluated = capsys.readouterr().out
    cli.main(["compare", run])
    row = capsys.readouterr().out.splitlines()[1]
    mean = json.loads((tmp_path / "run" / "results.json").read_text())["log_likelihood"]
    assert row.split()[:2] == ["run", f"{mean:.2f}"]
    assert f"{mean:.2f}" in trained
    assert f"{mean:.2f}" in evaluated
    printed = tmp_path / "printed"
    with printed.open("w", encoding="ascii") as stream, contextlib.redirect_stdout(stream):  # without "±"
        cli.main(["compare", run])
    assert f"{mean:.2f} +/- " in printed.read_text("ascii")


def test_former_names_of_flags_are_taken():
    renamed = {"k": "particles", "validate_every": "valid_every"}
    assert current_names(["--k", "5", "--validate-every=3"], renamed) == ["--particles", "5", "--valid-every=3"]
    assert current_names(["--kind", "k", "-k", "--", "k"], renamed) == ["--kind", "k", "-k", "--", "k"]


@pytest.mark.slow
def test_module_runs_from_any_folder(tmp_path):
    done = run_python("-m", "pyrodgm", "list", cwd=tmp_path)
    assert done.stdout.startswith("vampprior")
    assert not done.stderr


def test_console_script_is_declared():
    text = (ROOT / "pyproject.toml").read_text()
    assert '[project.scripts]\npyrodgm = "pyrodgm.cli:main"' in text
