"""A table of published results: runs that exist are used, the others trained, and its rows are printed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from pyrodgm.cli.refusals import check_flags, in_one_line
from pyrodgm.cli.terminal import print_anywhere
from pyrodgm.infer import DamagedFileError
from pyrodgm.zoo.tables import (
    TABLES,
    Finished,
    MissingResultError,
    Row,
    Table,
    best_runs,
    evaluate,
    finished_runs,
    text,
    train_missing,
    write_into,
)


@dataclass(frozen=True)
class TableFlags:
    """Regenerate a table of docs/results.md.

    Runs below the folder of runs that have the flags of a row are used; the others are trained, the seeds of a row
    together where they can be. Killed and called again, it goes on where it was.
    """

    name: Annotated[Literal[tuple(TABLES)], tyro.conf.Positional]  # type: ignore[valid-type]
    """The table."""
    rows: tuple[str, ...] = ()
    """Names of the rows to train; none: all. Rows that are not trained are shown with the runs that exist."""
    seeds: int | None = None
    """Number of seeds; None: that of the table."""
    train: bool = True
    """Train what is missing; else only show what exists."""
    runs: Path = Path("runs")
    """Folder of run folders, at any depth."""
    page: Path | None = None
    """Page to write the rows into, between <!-- table NAME --> and <!-- end of table NAME -->."""
    device: str | None = None
    """Where to train, as PyTorch calls it; None: the processor."""
    root: str | None = None
    """Folder of the data; by default $PYRODGM_DATA, or else a cache folder."""


@in_one_line(TableFlags)
def table(flags: TableFlags) -> None:
    """Train what is missing, print the rows, write them into the page.

    Raises:
        SystemExit: If a flag is wrong or a run cannot be trained or read; says why.
    """
    print_anywhere()
    check_flags(flags)
    try:
        print(regenerate(flags))
    except (ValueError, OSError, DamagedFileError, MissingResultError) as error:
        raise SystemExit(f"table {flags.name}: {error}") from error


def regenerate(flags: TableFlags) -> str:
    """Train what is missing and return the rows."""
    chosen = TABLES[flags.name]
    count = chosen.seeds if flags.seeds is None else flags.seeds
    if count < 1:
        raise ValueError(f"--seeds must be at least 1, got {count}")
    to_train = chosen.chosen(flags.rows) if flags.train else ()
    changes: dict[str, Any] = {"figures": False}
    changes |= {name: value for name in ("device", "root") if (value := getattr(flags, name)) is not None}
    if flags.page is not None:
        write_into(flags.page, chosen.name, None)  # before hours of training
    found = {}
    for row in chosen.rows:
        first = chosen.config(row, changes).seed
        seeds = range(first, first + count)
        if row in to_train:
            _train(chosen, row, flags.runs, seeds, changes)
        found[row.name] = {s: run for s, run in _best(chosen, row, flags.runs, seeds, changes).items() if run.results}
    rows = text(chosen, found, count)
    if flags.page is not None:
        write_into(flags.page, chosen.name, rows)
    return rows


def _train(table: Table, row: Row, folder: Path, seeds: range, changes: dict[str, Any]) -> None:
    for setting in table.settings:
        changed = {**changes, **setting}
        known = finished_runs(table, row, folder, seeds, changed)
        missing = [seed for seed in seeds if seed not in known]
        if missing:
            for line in train_missing(table, row, folder, missing, changed):
                print(line, flush=True)
    for run in _best(table, row, folder, seeds, changes).values():
        if not run.results:
            print(evaluate(table, row, run, changes), flush=True)


def _best(table: Table, row: Row, folder: Path, seeds: range, changes: dict[str, Any]) -> dict[int, Finished]:
    tried = [finished_runs(table, row, folder, seeds, {**changes, **setting}) for setting in table.settings]
    return best_runs(table, tried)
