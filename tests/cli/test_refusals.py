"""Bad arguments of every subcommand: one line that names the flag, and status 2."""

import dataclasses
import runpy
import sys

import pytest
from fresh_process import ROOT

import pyrodgm
from pyrodgm import cli, zoo
from pyrodgm.cli.refusals import check_flags, in_one_line, refusal
from pyrodgm.infer import DamagedFileError, FolderInUseError

TINY = ("--data", "digits", "--num-images", "6", "--no-figures")


def refused(run, capsys):
    """The one line that a command ends with."""
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.strip() == str(end.value)
    return text.strip()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("train vampprior --latent -3", "--latent must be at least 1, got -3"),
        ("train vampprior --hidden 0", "--hidden must be at least 1, got 0"),
        ("train vampprior --epochs 0", "--epochs must be at least 1, got 0"),
        ("train vampprior --components 0", "--components must be at least 1, got 0"),
        ("train vampprior --warmup -1", "--warmup must be finite and at least 0, got -1"),
        ("train vampprior --learning-rate nan", "--learning-rate must be finite and greater than 0, got nan"),
        ("train vampprior --num-samples 0", "--num-samples must be at least 1, got 0"),
        ("train vampprior --train-images 1000000", "--train-images must lie between 1 and the 1197 of digits"),
        ("train vampprior --device nosuch", "--device must be one that PyTorch finds, got 'nosuch'"),
        ("train vampprior --posterior flow --model convhvae", "--posterior flow needs --model vae or hvae"),
        ("train iwae --schedule-epochs 0", "--schedule-epochs must be at least 1, got 0"),
        ("train semi_supervised --num-seeds 0", "--num-seeds must be at least 1, got 0"),
        (
            "train semi_supervised --label-fraction 2",
            "--label-fraction must be finite and at most 1 and greater than 0",
        ),
        ("train dvae --chains 1", "--chains must be at least 2, got 1"),
    ],
)
def test_wrong_flags_of_training_are_named(args, message, capsys, tmp_path):
    args = args.split()
    given = [*args[:2], *TINY, "--run", str(tmp_path / "run"), *args[2:]]
    assert refused(lambda: cli.main(given), capsys).startswith(message)
    assert not (tmp_path / "run" / "metrics.csv").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("train vampprior --data nosuch", "--data: no data set 'nosuch'; known are"),
        ("train vampprior --data digit_counts", "--data must be binary or grey for vampprior, got digit_counts"),
        ("train count_vae --data digits", "--data must be counts for count_vae, got digits, whose values are binary"),
        ("train parity --batch-size 0", "--batch-size must be at least 1, got 0"),
        ("evaluate nosuch", "nosuch cannot be evaluated"),
        ("evaluate nosuch --num-samples 0", "--num-samples must be at least 1, got 0"),
        ("evaluate nosuch --export x.txt", "--export: expected a name that ends in .nc or .zarr"),
        ("compare nosuch", "nosuch/results.json is missing"),
        ("table digits --seeds 0 --no-train", "--seeds must be at least 1, got 0"),
        ("demo --epochs 0", "--epochs must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_of_all_subcommands_are_named(args, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(lambda: cli.main(args.split()), capsys).startswith(message)


@pytest.mark.parametrize(
    ("file", "args", "message"),
    [
        ("vampprior", "--components 0", "--components must be at least 1, got 0"),
        ("demo", "--num-samples 0", "--num-samples must be at least 1, got 0"),
        ("compare", "nosuch", "nosuch/results.json is missing"),
        ("evaluate", "nosuch", "nosuch cannot be evaluated"),
    ],
)
def test_examples_refuse_as_the_command_does(file, args, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [file, *args.split()])
    path = str(ROOT / "examples" / f"{file}.py")
    assert refused(lambda: runpy.run_path(path, run_name="__main__"), capsys).startswith(message)


@pytest.mark.parametrize("name", list(zoo.SYSTEMS))
def test_every_number_of_every_system_has_a_range_that_holds_its_default(name):
    config = zoo.SYSTEMS[name].config()
    check_flags(config)
    numbers = 0
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and field.name != "seed":
            numbers += 1
            with pytest.raises(ValueError, match=f"^--{field.name.replace('_', '-')} must be"):
                check_flags(dataclasses.replace(config, **{field.name: type(value)(-1)}))
    assert numbers > 5


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            FileNotFoundError("a.gz is not in b: set root or PYRODGM_DATA"),
            "a.gz is not in b: set --root or PYRODGM_DATA",
        ),
        (FileNotFoundError("state.pt is missing: name another run_dir"), "state.pt is missing: name another --run"),
        (DamagedFileError("best.safetensors is damaged"), "best.safetensors is damaged"),
        (FolderInUseError("a is in use: name another run_dir"), "a is in use: name another --run"),
    ],
)
def test_files_that_are_missing_damaged_or_in_use_are_named_in_one_line(error, text, capsys):
    @in_one_line(zoo.SYSTEMS["vampprior"].config)
    def fails():
        raise error

    assert refused(fails, capsys) == text


@pytest.mark.parametrize(
    ("system", "flags", "file"),
    [
        ("vampprior", ["--data", "frey_faces"], "frey_faces/freyfaces.pkl"),
        ("adaptive_language_model", ["--data", "tiny_shakespeare"], "text/tinyshakespeare/input.txt"),
        ("sentence_vae", ["--data", "ptb_words"], "text/ptb/ptb.train.txt"),
    ],
)
def test_a_damaged_data_file_is_named_in_one_line(system, flags, file, tmp_path, capsys):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut off")
    argv = ["train", system, *flags, "--root", str(tmp_path), "--run", str(tmp_path / "run")]
    text = refused(lambda: cli.main(argv), capsys)
    assert text.startswith((f"data set '{flags[1]}': {path} is ", f"text '{flags[1]}': {path} is "))


def test_other_errors_keep_their_traceback():
    @in_one_line(zoo.SYSTEMS["vampprior"].config)
    def fails(error):
        raise error

    for error in (ValueError("x must be finite"), ValueError(""), KeyError("components"), SystemExit(3)):
        with pytest.raises(type(error)) as caught:
            fails(error)
        assert caught.value is error
    assert refusal("particles: too few", {"components"}) is None
    assert in_one_line(zoo.SYSTEMS["vampprior"].config)(lambda: "done")() == "done"


def test_the_version_is_printed(capsys):
    cli.main(["--version"])
    assert capsys.readouterr().out == f"pyrodgm {pyrodgm.__version__}\n"
