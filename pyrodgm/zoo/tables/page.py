"""A table as rows of a Markdown page, and its place in one."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from pyrodgm.infer.training.checkpoint import write_atomically
from pyrodgm.zoo.tables.runs import Finished, MissingResultError, spread
from pyrodgm.zoo.tables.table import Column, Row, Table

NOT_RUN = "not run: `"


def text(table: Table, runs: Mapping[str, Mapping[int, Finished]], seeds: int) -> str:
    """The rows of a page.

    Args:
        table: The table.
        runs: Runs of each row by its name, and of these by seed.
        seeds: Number of seeds that a whole row has.
    """
    titles = [table.title, "spread over seeds", "published", "verdict", *(c.title for c in table.columns)]
    titles += ["setting of the best validation bound"] if table.search else []
    lines = [["", *titles, "budget", "estimator"]]
    for row in table.rows:
        found = [runs.get(row.name, {})[seed] for seed in sorted(runs.get(row.name, {}))]
        lines.append([row.name, *(_cells(table, row, found, seeds) if found else _not_run(table, row))])
    shown = ["".join(f"| {cell} " if cell else "| " for cell in cells) + "|" for cells in lines]
    return "\n".join([shown[0], "|---" * len(lines[0]) + "|", *shown[1:]])


def _cells(table: Table, row: Row, runs: Sequence[Finished], seeds: int) -> list[str]:
    values = [float(run.entry(table.value)) for run in runs]
    mean, deviation = statistics.fmean(values), spread(values)
    error = statistics.fmean(float(run.entry(table.error)) for run in runs) if table.error else None
    several = f"{len(runs)} of {seeds} seeds" if len(runs) < seeds else f"{seeds} seeds"
    shown = "" if deviation is None else f"± {deviation:.2f} ({several})"
    if deviation is None and seeds > 1:
        shown = several
    minutes = statistics.fmean(sum(run.seconds) for run in runs) / 60
    time = f"{minutes:.1f} min" if minutes < 60 else f"{minutes / 60:.1f} h"
    budget = "–".join(dict.fromkeys(str(f([len(run.seconds) for run in runs])) for f in (min, max)))
    return [
        _signed(f"{mean:.2f}") + ("" if error is None else f" ± {error:.2f}"),
        shown,
        _published(row),
        _verdict(table, row, runs, max(deviation or 0.0, error or 0.0)),
        *(_column(column, runs) for column in table.columns),
        *(["; ".join(dict.fromkeys(run.setting for run in runs))] if table.search else []),
        f"{budget} {table.period}, {time}",
        _estimator(table, runs[0]),
    ]


def _not_run(table: Table, row: Row) -> list[str]:
    command = f'{NOT_RUN}pyrodgm table {table.name} --rows "{row.name}"`'
    return ["", "", _published(row), command, *[""] * (len(table.columns) + bool(table.search) + 2)]


def _published(row: Row) -> str:
    value = "" if row.published is None else _signed(f"{row.published:.2f}")
    return f"{value} ({row.note})" if row.note and value else value or row.note


def verdict(published: float | None, mean: float, error: float, higher: bool = True) -> str:
    """A value beside a published one: reached where they are no further apart than the error.

    Example:
        >>> verdict(-88.56, -88.70, 0.2), verdict(-88.56, -88.01, 0.2), verdict(1.27, 1.8, 0.01, higher=False)
        ('reached', 'ahead by 0.55', 'behind by 0.53')
    """
    if published is None:
        return ""
    lead = mean - published if higher else published - mean
    if abs(lead) <= error:
        return "reached"
    return f"{'ahead' if lead > 0 else 'behind'} by {abs(lead):.2f}"


def _verdict(table: Table, row: Row, runs: Sequence[Finished], error: float) -> str:
    try:
        values = [float(run.entry(table.compared or table.value)) for run in runs]
    except (MissingResultError, TypeError):  # evaluated otherwise
        return ""
    return verdict(row.published, statistics.fmean(values), error, table.higher)


def _column(column: Column, runs: Sequence[Finished]) -> str:
    try:
        means = [statistics.fmean(float(run.entry(path)) for run in runs) for path in column.entries]
    except (MissingResultError, TypeError):  # missing, or None: not asked for
        if not column.optional:
            raise
        return ""
    return ", ".join(_signed(column.form.format(mean)) for mean in means)


def _estimator(table: Table, run: Finished) -> str:
    counts = [
        f"{run.results[name]:,} {unit}"
        for name, unit in (("num_samples", "samples"), ("num_images", "images"))
        if isinstance(run.results.get(name), int)
    ]
    return ", ".join([table.estimator, *counts])


def _signed(number: str) -> str:
    return number.replace("-", "−")


def write_into(page: Path, name: str, rows: str | None) -> None:
    """Put rows between the lines ``<!-- table NAME -->`` and ``<!-- end of table NAME -->`` of a page.

    What the page says of a row stays where there are no runs of it, as long as the table has the same columns.

    Args:
        page: The page, a file in UTF-8.
        name: Of the table.
        rows: The rows; None only makes sure that the page has these lines.

    Raises:
        ValueError: If the page does not have these lines once each, in this order.
    """
    begin, end = f"<!-- table {name} -->\n", f"<!-- end of table {name} -->\n"
    content = page.read_text(encoding="utf-8")
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(begin) > content.index(end):
        raise ValueError(f"page must have the lines {begin.strip()} and {end.strip()} once each, got {page}")
    if rows is None:
        return
    before, after = content[: content.index(begin)], content[content.index(end) :]
    old, lines = content[len(before) : len(content) - len(after)].split("\n"), rows.split("\n")
    if lines[0] in old:
        known = {_row_name(line): line for line in old}
        rows = "\n".join(known.get(_row_name(line), line) if NOT_RUN in line else line for line in lines)
    write_atomically(page, lambda file: file.write_text(f"{before}{begin}\n{rows}\n\n{after}", encoding="utf-8"))


def _row_name(line: str) -> str:
    return line.split(" | ")[0]
