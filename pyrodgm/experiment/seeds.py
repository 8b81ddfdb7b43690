"""Training of a published system with several seeds, in one graph where that is possible, and their spread."""

import json
import statistics
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from torch import nn

from pyrodgm.datasets import Dataset
from pyrodgm.experiment.config import TrainingConfig
from pyrodgm.experiment.data import check_evaluation
from pyrodgm.experiment.run import check_resumable, read_run
from pyrodgm.experiment.system import ImageSystem
from pyrodgm.experiment.training import FREE, fit_options, report_options, settings, train
from pyrodgm.infer import fit_many
from pyrodgm.infer.estimators.adversarial.objective import AdversarialObjective
from pyrodgm.infer.tracing.contexts import flushing_denormals, matmul_precision
from pyrodgm.infer.tracing.graph import UntraceableError
from pyrodgm.processes import world

C = TypeVar("C", bound=TrainingConfig)

# Numbers in results.json that are no results, or are errors of one.
OTHERS = ("num_images", "num_samples", "num_draws", "seed", "seconds_per_epoch", "noise")
ERRORS = (
    "standard_error",
    "bits_standard_error",
    "encoder_standard_error",
    "shared_error",
    "gap_error",
    "trusted_gap_error",
    "perplexity_error",
)


def train_seeds(system: ImageSystem[C], config: C, *, evaluate: bool = True) -> Iterator[str]:
    """Train the pairs of ``config.num_seeds`` seeds, each with a run folder of its own, and yield results and spread.

    They are trained in one graph by :func:`pyrodgm.infer.fit_many`, or one after another where their graphs cannot be
    stacked: two players, a score of validation data, a CUDA device, several processes.

    Args:
        system: The published system.
        config: Its flags; the seeds are its own and the next ones.
        evaluate: Whether to evaluate the trained pairs; if not, nothing is yielded.

    Raises:
        ValueError: If a run folder holds a run with other flags, or a number is out of range.
    """
    if config.num_seeds < 1:
        raise ValueError(f"--num-seeds must be at least 1, got {config.num_seeds}")
    if getattr(config, "compare", None):
        raise ValueError(f"--compare must be left out with --num-seeds {config.num_seeds}")
    configs = [replace(config, seed=config.seed + i, num_seeds=1) for i in range(config.num_seeds)]
    if config.run is not None:
        configs = [replace(one, run=f"{config.run}-{one.seed}") for one in configs]
    for one in configs:
        check_resumable(one.folder, system.name, one, FREE)
    data = system.read_data(config)
    check_evaluation(data, config.num_samples, config.num_images)
    pairs = _together(system, configs, data) if can_train_together(system, config, data) else None
    for i, one in enumerate(configs):
        if pairs is None:
            text = train(system, one, system.report if evaluate else _no_report).report
        elif evaluate:
            text = system.report(pairs[i], data, read_run(one.folder), **report_options(one))
        if evaluate:
            yield text
    if evaluate:
        yield spread(configs)


def _no_report(*args: Any, **options: Any) -> str:
    return ""


def can_train_together(system: ImageSystem[C], config: C, data: Dataset) -> bool:
    """Whether the models of several seeds may share a graph."""
    together = not isinstance(system.objective(config), AdversarialObjective)
    together &= system.settings(config, data).get("valid_score") is None
    return together and config.device == "cpu" and world().size == 1


def spread(configs: Sequence[TrainingConfig]) -> str:
    """Mean and standard deviation of the results of runs, from ``results.json`` of each, as text."""
    results = [json.loads((config.folder / "results.json").read_text(encoding="utf-8")) for config in configs]
    seeds = ", ".join(str(config.seed) for config in configs)
    lines = [f"{configs[0].title}, mean ± standard deviation over seeds {seeds}"]
    for name in results[0]:
        values = [result.get(name) for result in results]
        if name not in OTHERS + ERRORS and all(isinstance(value, float) for value in values):
            deviation = statistics.stdev(values) if len(values) > 1 else 0.0
            lines.append(f"{name:<24}{statistics.fmean(values):>12.4f} ± {deviation:.4f}")
    return "\n".join(lines)


def _together(system: ImageSystem[C], configs: Sequence[C], data: Dataset) -> list[nn.Module] | None:
    """The trained pairs; None where the graph cannot be stacked."""
    config = configs[0]
    runs: list[dict[str, Any]] = [
        {"seed": one.seed, "run_dir": one.folder, "resume": one.resume, "settings": settings(system, one, data)}
        for one in configs
    ]
    by_seed = {one.seed: one for one in configs}
    with flushing_denormals(), matmul_precision(config.matmul):
        try:
            fitted = fit_many(
                lambda run: system.build(by_seed[run["seed"]], data),
                runs,
                data,
                **fit_options(system, config),
            )
        except UntraceableError as error:
            warnings.warn(f"the seeds are trained one after another: {error}", stacklevel=3)
            return None
    return [one.pair for one in fitted]
