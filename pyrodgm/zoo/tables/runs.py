"""The runs of a table: those that exist, and training of those that are missing."""

import itertools
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyrodgm.errors import PyrodgmError
from pyrodgm.experiment import Evaluation, ImageSystem, train_seeds
from pyrodgm.experiment.run import changed_arguments
from pyrodgm.infer import DamagedFileError
from pyrodgm.infer.training.loggers import read_csv
from pyrodgm.zoo.tables.table import Row, Table

# Flags that do not decide the value of a row.
FREE = ("root", "device", "compile", "run", "resume", "encoder_samples", "figures", "num_seeds", "sample")


class MissingResultError(PyrodgmError, KeyError):
    """An entry that a table shows is not among the results of a run."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Finished:
    """A run that was trained to its end.

    Attributes:
        path: Its folder.
        results: The content of its ``results.json``; empty before it is evaluated.
        seconds: Seconds that each epoch took.
        bound: Best validation bound; NaN where there is none.
        setting: Flags by which it differs from others that were tried, and how many of these there are.
    """

    path: Path
    results: Mapping[str, Any]
    seconds: Sequence[float]
    bound: float = math.nan
    setting: str = ""

    def entry(self, path: Sequence[str]) -> Any:
        """An entry of the results.

        Raises:
            MissingResultError: If there is none at this path.
        """
        found: Any = self.results
        for name in path:
            if not isinstance(found, Mapping) or name not in found:
                raise MissingResultError(f"{self.path / 'results.json'} has no entry {' / '.join(path)}")
            found = found[name]
        return found


def finished_runs(
    table: Table, row: Row, folder: Path, seeds: Sequence[int], changes: Mapping[str, Any]
) -> dict[int, Finished]:
    """Runs of a row that exist anywhere in a folder, by their seeds, whatever their names.

    A run is one of the row's if its flags are, those apart that do not decide its value, and it was evaluated. Where a
    table evaluates only the best of several settings, it is enough that training has ended.
    """
    configs = {seed: replace(table.config(row, changes), seed=seed) for seed in seeds}
    found: dict[int, Finished] = {}
    for path in sorted(file.parent for file in folder.rglob("config.json")):
        for seed, config in configs.items():
            if (seed not in found or not found[seed].results) and _is_of(path, table, config):
                run = _finished(path, table, config)
                if run is not None:
                    found[seed] = run
    return found


def _is_of(path: Path, table: Table, config: Any) -> bool:
    try:
        return not changed_arguments(path, table.system.name, config, FREE)
    except (ValueError, OSError, DamagedFileError):  # a run of something else
        return False


def _finished(path: Path, table: Table, config: Any) -> Finished | None:
    try:
        seconds, file = [one["seconds"] for one in read_csv(path / "times.csv")], path / "results.json"
        metrics = read_csv(path / "metrics.csv") if table.search else []
        if table.evaluates_best and not file.exists():
            return Finished(path, {}, seconds, _best_bound(metrics)) if _has_ended(config, metrics) else None
        run = Finished(path, json.loads(file.read_text(encoding="utf-8")), seconds, _best_bound(metrics))
        run.entry(table.value)
    except (OSError, ValueError, KeyError):  # killed before its evaluation had ended
        return None
    return run


def _has_ended(config: Any, metrics: Sequence[Mapping[str, float]]) -> bool:
    """Whether training has run for all its epochs or, by the rule of :func:`pyrodgm.infer.fit`, has stopped early."""
    bounds = {int(one["epoch"]): one["valid_bound"] for one in metrics if not math.isnan(one["valid_bound"])}
    last = int(metrics[-1]["epoch"])
    waited = last - max(max(bounds, key=lambda epoch: bounds[epoch], default=0), math.ceil(config.kl_warmup))
    return last >= config.epochs or (config.patience is not None and last in bounds and waited >= config.patience)


def _best_bound(metrics: Sequence[Mapping[str, float]]) -> float:
    bounds = [one.get("valid_bound", math.nan) for one in metrics]
    return max((value for value in bounds if not math.isnan(value)), default=math.nan)


def best_runs(table: Table, runs: Sequence[Mapping[int, Finished]]) -> dict[int, Finished]:
    """For each seed the run of the best validation bound, of runs by seed for each of the table's settings."""
    best: dict[int, Finished] = {}
    for seed in sorted({seed for found in runs for seed in found}):
        tried = [(found[seed], flags) for found, flags in zip(runs, table.settings, strict=True) if seed in found]
        run, flags = max(tried, key=lambda one: -math.inf if math.isnan(one[0].bound) else one[0].bound)
        chosen = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in flags.items())
        best[seed] = replace(run, setting=f"{chosen}; of {len(tried)} tried" if flags else "")
    return best


def train_missing(
    table: Table, row: Row, folder: Path, missing: Sequence[int], changes: Mapping[str, Any]
) -> Iterator[str]:
    """Train a row with some seeds, together where the system can, or resume what was killed.

    Runs are evaluated, unless the table evaluates only the best of several settings.

    Args:
        table: The table.
        row: The row.
        folder: Folder of the run folders, which are named after table, row and seed.
        missing: The seeds.
        changes: Flags to change, as of :meth:`Table.config`.

    Yields:
        What the system prints.
    """
    searched = [f"{flag} {changes[flag]}" for flag in table.search]
    words = "".join(c if c.isalnum() else " " for c in " ".join([row.name, *searched]).lower())
    prefix, config = folder / "-".join([table.name, *words.split()]), table.config(row, changes)
    for first, last in _stretches(missing):
        together = table.evaluates_best or last > first
        if together and isinstance(table.system, ImageSystem) and not table.system.own_seeds:
            flags = {"seed": first, "num_seeds": last - first + 1, "run": str(prefix), "resume": True}
            yield from train_seeds(table.system, replace(config, **flags), evaluate=not table.evaluates_best)
        else:
            for seed in range(first, last + 1):
                path = Path(f"{prefix}-{seed}")
                resume = (path / "state.pt").exists()
                yield from table.system.main(replace(config, seed=seed, run=str(path), resume=resume))


def evaluate(table: Table, row: Row, run: Finished, changes: Mapping[str, Any]) -> str:
    """Evaluate a run as the flags of its row say; returns what the system prints."""
    config = table.config(row, changes)
    names = ("num_samples", "num_images", "encoder_samples", "root", "device", "figures")
    return table.system.evaluate(run.path, Evaluation(**{name: getattr(config, name) for name in names}))


def _stretches(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last number of each stretch of consecutive ones.

    Example:
        >>> list(_stretches([2, 0, 1, 5]))
        [(0, 2), (5, 5)]
    """
    for _, group in itertools.groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        stretch = [number for _, number in group]
        yield stretch[0], stretch[-1]


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation; None of fewer than two."""
    return statistics.stdev(values) if len(values) > 1 else None
