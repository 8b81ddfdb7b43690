"""Tables of published results: their declarations, the runs that they use, and the rows of the page."""

import json
import math
import re
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pyrodgm import cli
from pyrodgm.datasets import load
from pyrodgm.experiment.training import fit_options
from pyrodgm.infer import FitSettings, fit
from pyrodgm.infer.training.loggers import read_csv
from pyrodgm.zoo import vampprior
from pyrodgm.zoo.tables import TABLES, Column, Finished, MissingResultError, Row, Table, best_runs, text, write_into
from pyrodgm.zoo.tables.runs import _has_ended
from pyrodgm.zoo.tables.table import by_encoder

TINY = {"data": "digits", "latent": 2, "hidden": (4,), "epochs": 2, "warmup": 0.0, "patience": None}
TINY |= {"num_samples": 30, "num_images": 6, "components": 3}
FLAGS = "--prior standard --data digits --latent 2 --hidden 4 --epochs 2 --warmup 0 --patience None --num-samples 30"
FLAGS += " --num-images 6 --components 3 --seed 14 --no-figures"
ROWS = Row("standard normal", {"prior": "standard"}, -40.0), Row("VampPrior", {"prior": "vampprior"})


@pytest.fixture(autouse=True)
def single_precision():
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def tiny(monkeypatch):
    table = Table("digits", vampprior.SYSTEM, ROWS, TINY, seeds=2, columns=(Column("ELBO", (("elbo",),)),))
    monkeypatch.setitem(TABLES, "digits", table)
    return table


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_declarations_are_of_flags_that_the_systems_have(table):
    configs = [table.config(row, {"figures": False}) for row in table.rows]
    assert len({repr(config) for config in configs}) == len(table.rows) == len({row.name for row in table.rows})
    assert TABLES[table.name] is table
    assert text(table, {}, table.seeds).count("not run: `pyrodgm table") == len(table.rows)


def test_make_tables_writes_each_into_its_place_on_the_page():
    root = Path(__file__).parents[2]
    page, made = (root / "docs/results.md").read_text("utf-8"), (root / "Makefile").read_text("utf-8")
    published = set(TABLES) - {"digits"}
    assert set(re.findall("<!-- table (.*) -->", page)) == published
    assert set(re.search("^TABLES := (.*)$", made, re.MULTILINE)[1].split()) == published


def results(value, **more):
    entries = {"log_likelihood": value, "standard_error": 0.25, "elbo": value - 1, "num_samples": 1000, **more}
    return Finished(Path("runs"), entries, [30.0] * 3)


def test_rows_of_a_page(tiny):
    runs = {"standard normal": {0: results(-39.0), 1: results(-40.0)}, "VampPrior": {0: results(-38.123)}}
    assert text(tiny, runs, 2) == (
        "| | test log p(x), nats | spread over seeds | published | verdict | ELBO | budget | estimator |\n"
        "|---|---|---|---|---|---|---|---|\n"
        "| standard normal | −39.50 ± 0.25 | ± 0.71 (2 seeds) | −40.00 | reached | −40.50 | 3 epochs, 1.5 min | "
        "refined importance sampling, 1,000 samples |\n"
        "| VampPrior | −38.12 ± 0.25 | 1 of 2 seeds | | | −39.12 | 3 epochs, 1.5 min | "
        "refined importance sampling, 1,000 samples |"
    )
    lines = text(tiny, {"standard normal": {0: results(-41.0)}}, 1).splitlines()
    assert "| −41.00 ± 0.25 | | −40.00 | behind by 1.00 |" in lines[2]
    assert lines[3] == '| VampPrior | | | | not run: `pyrodgm table digits --rows "VampPrior"` | | | |'


def test_the_verdict_compares_what_was_made_as_published(tiny):
    table = replace(tiny, columns=(by_encoder(5000),), compared=("encoder_log_likelihood",))
    row = text(table, {"standard normal": {0: results(-30.0, encoder_log_likelihood=-41.0)}}, 1).splitlines()[2]
    assert "| −30.00 ± 0.25 | | −40.00 | behind by 1.00 | −41.00 |" in row
    for missing in ({}, {"encoder_log_likelihood": None}):
        row = text(table, {"standard normal": {0: results(-30.0, **missing)}}, 1).splitlines()[2]
        assert "| −30.00 ± 0.25 | | −40.00 | | | 3 epochs" in row
    with pytest.raises(MissingResultError, match="no entry other"):
        text(replace(tiny, columns=(Column("other", (("other",),)),)), {"standard normal": {0: results(-30.0)}}, 1)


SEARCH = {"learning_rate": (1e-4, 5e-4), "warmup": (0.0, 1.0)}


def test_the_validation_bound_chooses_a_setting_for_each_seed(tiny):
    table = replace(tiny, search=SEARCH)
    assert [tuple(flags.values()) for flags in table.settings] == [(1e-4, 0.0), (1e-4, 1.0), (5e-4, 0.0), (5e-4, 1.0)]
    low, high, unknown = (replace(results(value), bound=value) for value in (-50.0, -40.0, math.nan))
    best = best_runs(table, [{0: low, 1: unknown}, {0: high}, {1: low}, {}])
    assert (best[0].bound, best[1].bound) == (-40.0, -50.0)
    assert best[0].setting == "learning rate 0.0001, warmup 1; of 2 tried"
    head, _, row, missing = text(table, {"standard normal": best}, 2).splitlines()
    assert "| ELBO | setting of the best validation bound | budget |" in head
    assert "| learning rate 0.0001, warmup 1; of 2 tried; learning rate 0.0005, warmup 0; of 2 tried | 3 epochs" in row
    assert head.count("|") == row.count("|") == missing.count("|")
    assert best_runs(tiny, [{0: low}])[0].setting == ""


@pytest.mark.slow
def test_of_a_search_only_the_best_run_of_each_seed_is_evaluated(monkeypatch, tmp_path, capsys):
    one = Table("digits", vampprior.SYSTEM, ROWS[:1], TINY, search={"learning_rate": (1e-3, 1e-2)}, seeds=2)
    monkeypatch.setitem(TABLES, "digits", one)
    call = ["table", "digits", "--runs", str(tmp_path)]
    cli.main(call)
    rows = capsys.readouterr().out.split("| | test")[1]
    digits = {"001": "0.001", "01": "0.01"}
    folders = {f"digits-standard-normal-learning-rate-0-{name}-{seed}" for name in digits for seed in (14, 15)}
    assert {path.name for path in tmp_path.iterdir()} == folders
    bounds = {name: max(row["valid_bound"] for row in read_csv(tmp_path / name / "metrics.csv")) for name in folders}
    best = [max((name for name in folders if name.endswith(seed)), key=bounds.__getitem__) for seed in ("14", "15")]
    assert sorted(file.parent.name for file in tmp_path.rglob("results.json")) == sorted(best)
    for name in best:
        assert f"learning rate {digits[name.split('-')[6]]}; of 2 tried" in rows
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.*")}
    for again in (call, [*call, "--no-train"]):
        cli.main(again)
        assert capsys.readouterr().out.split("| | test")[1] == rows
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.*")} == before
    # Killed before the evaluation of the chosen: shown without it, and evaluated without training again.
    (tmp_path / best[1] / "results.json").unlink()
    cli.main([*call, "--no-train"])
    assert "| 1 of 2 seeds |" in capsys.readouterr().out
    cli.main(call)
    assert capsys.readouterr().out.split("| | test")[1] == rows
    assert (tmp_path / best[1] / "state.pt").stat().st_mtime_ns == before[tmp_path / best[1] / "state.pt"]


def test_training_has_ended_by_the_rule_of_fit(tmp_path):
    data, table = load("digits"), Table("digits", vampprior.SYSTEM, ROWS[:1], TINY)
    for patience, epochs, warmup, rate in ((2, 60, 3.0, 0.3), (None, 3, 0.0, 0.01)):
        changes = {"patience": patience, "epochs": epochs, "warmup": warmup, "learning_rate": rate, "valid_every": 2}
        config = table.config(ROWS[0], changes)
        torch.manual_seed(0)
        options = fit_options(table.system, config) | {"batch_size": 500}
        settings = FitSettings(valid_every=2)
        rows = fit(table.system.build(config, data), data, **options, settings=settings).metrics
        assert (len(rows) < epochs) == (patience is not None)
        assert [_has_ended(config, rows[:n]) for n in range(1, len(rows) + 1)] == [False] * (len(rows) - 1) + [True]


def test_a_page_keeps_what_is_around_a_table(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table a -->\nold\n<!-- end of table a -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        write_into(page, "a", "| − |")
        assert page.read_text("utf-8") == "before\n<!-- table a -->\n\n| − |\n\n<!-- end of table a -->\nafter\n"
    with pytest.raises(ValueError, match=re.escape("page must have the lines <!-- table b --> and")):
        write_into(page, "b", "")


def test_a_page_keeps_rows_of_which_there_are_no_runs(tiny, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table digits -->\n<!-- end of table digits -->\nafter\n", encoding="utf-8")

    def write(table, **values):
        rows = text(table, {name.replace("_", " "): {0: results(value)} for name, value in values.items()}, 1)
        write_into(page, "digits", rows)
        return page.read_text("utf-8").split("\n")[5:-4]

    assert ["not run" in row for row in write(tiny, standard_normal=-39.0)] == [False, True]
    both = write(tiny, VampPrior=-38.0)
    assert [row.split(" | ")[1] for row in both] == ["−39.00 ± 0.25", "−38.00 ± 0.25"]
    assert write(tiny) == both
    assert write(tiny, standard_normal=-38.5)[0].split(" | ")[1] == "−38.50 ± 0.25"
    assert ["not run" in row for row in write(replace(tiny, columns=()))] == [True, True]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rows", "Vamp"], "rows must be some of 'standard normal', 'VampPrior', got 'Vamp'"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--page", "nowhere.md"], "nowhere.md"),
    ],
)
def test_wrong_flags_are_refused_before_training(tiny, tmp_path, flags, message):
    with pytest.raises(SystemExit, match=re.escape(message)):
        cli.main(["table", "digits", "--runs", str(tmp_path), *flags])


@pytest.mark.slow
def test_runs_that_exist_are_used_and_the_others_trained_or_resumed(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(TABLES, "digits", Table("digits", vampprior.SYSTEM, ROWS[:1], TINY, seeds=3))
    runs, page = tmp_path / "runs", tmp_path / "page.md"
    page.write_text("<!-- table digits -->\n<!-- end of table digits -->\n")
    cli.main(["train", "vampprior", *FLAGS.split(), "--run", str(runs / "by hand" / "any name")])
    shutil.copytree(runs / "by hand" / "any name", runs / "a longer one")  # of more epochs: none of the table's
    config = (runs / "a longer one" / "config.json").read_text()
    (runs / "a longer one" / "config.json").write_text(re.sub(r'("epochs"): 2\b', r"\1: 3", config))
    (runs / "a longer one" / "results.json").write_text('{"log_likelihood": 1.0, "standard_error": 1.0}')
    capsys.readouterr()
    call = ["table", "digits", "--runs", str(runs), "--page", str(page)]
    cli.main([*call, "--no-train"])
    assert "| 1 of 3 seeds |" in capsys.readouterr().out
    cli.main(call)
    trained = capsys.readouterr().out.split("| | test")[1]
    folders = ["by hand/any name", "digits-standard-normal-15", "digits-standard-normal-16"]
    assert {path.name for path in runs.iterdir()} == {"by hand", "a longer one", *folders[1:]}
    values = [json.loads((runs / name / "results.json").read_text())["log_likelihood"] for name in folders]
    row = f"| standard normal | −{-statistics.fmean(values):.2f} ± "
    assert row in trained
    assert row in page.read_text("utf-8")
    # Killed before the evaluation of one of the seeds trained together: resumed, and nothing trained again.
    state = (runs / folders[1] / "state.pt").read_bytes()
    (runs / folders[1] / "results.json").unlink()
    cli.main(call)
    assert capsys.readouterr().out.split("| | test")[1] == trained
    assert (runs / folders[1] / "state.pt").read_bytes() == state
