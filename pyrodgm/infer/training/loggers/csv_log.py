"""Metrics as a CSV file."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyrodgm.infer.training.checkpoint import write_text


class CSVLogger:
    """Writes one row per epoch to a CSV file, which is replaced whole each time.

    Args:
        path: The file; rows that it holds of the same run are kept where that is resumed.
    """

    def __init__(self, path: Path | str) -> None:
        self.path, self.rows = Path(path), list[Mapping[str, Any]]()

    def begin(self, config: Mapping[str, Any], step: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.rows = []
        if step and self.path.exists():
            with self.path.open(newline="") as file:  # as text, so that the rows are written as they were
                self.rows = [row for row in csv.DictReader(file) if float(row["step"]) <= step]

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.rows.append({**metrics, "step": step})
        write_csv(self.path, self.rows)

    def end(self) -> None:
        """Nothing to do: the file is complete after each epoch."""


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write all rows anew; a killed run leaves the old table or the new one."""
    write_text(path, csv_text(rows))


def csv_text(rows: Sequence[Mapping[str, float]]) -> str:
    """A table of numbers as text."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_csv(path: Path) -> list[dict[str, float]]:
    """Read the rows of a table of numbers."""
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
