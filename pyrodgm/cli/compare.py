"""Comparison of finished runs: one table, gains per image, and the log-likelihood against a flag.

Gains are over the first run, on the test images that both were evaluated on; runs on other data have none. Their
standard errors are those of the differences, and much smaller than those of the log-likelihoods. They contain the
errors of the estimated log-partitions of both runs, which all images of a run share.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from pyrodgm import experiment, plots
from pyrodgm.cli.refusals import check_flags, in_one_line
from pyrodgm.cli.terminal import print_anywhere
from pyrodgm.infer.training.loggers import read_csv


@dataclass(frozen=True)
class Compare:
    """Compare finished runs."""

    run: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders."""
    by: str | None = None
    """Flag whose values are the x-axis of a chart, such as components."""
    figure: Path = Path("comparison.png")
    """File for that chart."""


@in_one_line(Compare)
def compare(config: Compare) -> None:
    """Print table and gains, write the chart.

    Raises:
        SystemExit: If a run was not evaluated, or a file or flag is wrong; names it.
    """
    print_anywhere()
    check_flags(config)
    if not config.run:
        raise SystemExit("expected the folder of at least one run, got none")
    names = [path.name for path in config.run]
    if len(set(names)) < len(names):
        names = [str(path) for path in config.run]
    results = {name: _results(path) for name, path in zip(names, config.run, strict=True)}
    print(experiment.table(results))
    arguments = [_arguments(path) for path in config.run]
    data, first = arguments[0].get("data"), _values(config.run[0])
    for name, path, own in zip(names[1:], config.run[1:], arguments[1:], strict=True):
        if own.get("data") != data:
            print(f"{name} has no gain over {names[0]}: its data are {own.get('data')}, not {data}")
            continue
        values = _values(path)
        both = sorted(first.keys() & values.keys())
        if len(both) > 1:
            gain = torch.tensor([values[image] - first[image] for image in both], dtype=torch.float64)
            shared = (results[name].shared_error, results[names[0]].shared_error)
            error = math.hypot(gain.std().item() / len(gain) ** 0.5, *shared)
            print(f"{name} gains {gain.mean():.2f} ± {error:.2f} nats per image over {names[0]} ({len(both)} images)")
    if config.by is not None:
        found = [own.get(config.by) for own in arguments]
        x = [value for value in found if isinstance(value, (int, float))]
        if len(x) < len(found):
            raise SystemExit(f"--by {config.by}: expected a flag with numbers in every run, got {found}")
        means, errors = zip(*((r.log_likelihood, r.standard_error) for r in results.values()), strict=True)
        plots.log_likelihood_curve(x, means, errors, label=config.by.replace("_", " ")).savefig(config.figure)
        print(f"in {config.figure}: log-likelihood against {config.by}")


def _results(path: Path) -> experiment.Results:
    file = path / "results.json"
    try:
        return experiment.Results(**json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SystemExit(f"{file} is missing: {path} holds no run that was evaluated") from error
    except (TypeError, ValueError) as error:
        raise SystemExit(f"{file} is damaged: {error}") from error


def _arguments(path: Path) -> dict[str, Any]:
    """The flags of a run."""
    try:
        return experiment.read_config(path)["arguments"]
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"{path} cannot be compared: {error}") from error


def _values(path: Path) -> dict[int, float]:
    """Log-likelihood of each test image that was evaluated, by its number; none if the run did not keep them."""
    file = path / "log_likelihood.csv"
    return {int(row["image"]): row["log_likelihood"] for row in read_csv(file)} if file.exists() else {}
