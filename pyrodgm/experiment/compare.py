"""Runs compared image by image, which tells them apart long before their own standard errors do."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyrodgm.infer import DamagedFileError
from pyrodgm.infer.records import read_csv


@dataclass(frozen=True)
class Comparison:
    """What a run reaches, and how much more than the first one.

    Attributes:
        path: The run folder.
        log_likelihood: Mean log p(x) of an image in nats.
        standard_error: Its standard error.
        gain: Mean difference to the first run over the same images, in nats.
        gain_error: Standard error of that: of the differences, and of the estimated log-partitions of both.
    """

    path: Path
    log_likelihood: float
    standard_error: float
    gain: float
    gain_error: float


def compare(paths: Sequence[Path | str]) -> list[Comparison]:
    """Compare evaluated runs with the first of them.

    Args:
        paths: Run folders with ``results.json`` and ``images.csv``, as :func:`pyrodgm.experiment.report` writes them.

    Raises:
        FileNotFoundError: If a run was not evaluated; names the file.
        DamagedFileError: If a file is not what was written there.
        ValueError: If the runs were not evaluated on the same images, or there is none.
    """
    if not paths:
        raise ValueError("paths must name at least one run, got none")
    read = [_read(Path(path)) for path in paths]
    (first, _, first_shared), *_ = read
    found = []
    for path, (values, results, shared) in zip(map(Path, paths), read, strict=True):
        if values.keys() != first.keys():
            raise ValueError(f"{path} was evaluated on other images than {paths[0]}")
        gains = [values[image] - first[image] for image in first]
        spread = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
        error = 0.0 if values is first else math.hypot(spread, shared, first_shared)
        found.append(
            Comparison(path, results["log_likelihood"], results["standard_error"], statistics.fmean(gains), error)
        )
    return found


def comparison_table(found: Sequence[Comparison]) -> str:
    """Comparisons as a Markdown table, a row for each run."""
    rows = ["| run | test log p(x) | against the first |", "|---|---|---|"]
    for c in found:
        gain = "" if c is found[0] else f"{c.gain:+.2f} ± {c.gain_error:.2f}"
        rows.append(f"| {c.path.name} | {c.log_likelihood:.2f} ± {c.standard_error:.2f} | {gain} |")
    return "\n".join(rows)


def _read(path: Path) -> tuple[dict[int, float], dict[str, float], float]:
    """Log-likelihood of each image, the results, and the error that all images share."""
    for name in ("results.json", "images.csv"):
        if not (path / name).is_file():
            raise FileNotFoundError(f"{path / name} is missing: evaluate the run first")
    try:
        results = json.loads((path / "results.json").read_text(encoding="utf-8"))
        values = {int(row["image"]): row["log_likelihood"] for row in read_csv(path / "images.csv")}
        return values, results, float(results["shared_error"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{path / 'results.json'} or images.csv beside it is damaged: {error}") from error
