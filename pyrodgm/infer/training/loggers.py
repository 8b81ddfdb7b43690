"""What a training run writes beside its weights: metrics as CSV, TensorBoard where it is installed."""

import csv
import io
from pathlib import Path
from typing import Any

from pyrodgm.infer.training.checkpoint import write_atomically
from pyrodgm.infer.training.resumable import Row


def write_csv(path: Path, rows: list[Row]) -> None:
    """Write all rows anew; a killed run leaves the old table or the new one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, lambda p: p.write_text(text.getvalue()))


def read_csv(path: Path) -> list[Row]:
    """Read the rows of a table of numbers."""
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def tensorboard_writer(folder: Path, purge_step: int) -> Any:
    """A TensorBoard writer that forgets what came at or after ``purge_step``, or None where TensorBoard is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=purge_step)
