"""Results and figures of a run, written into its folder."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import nn

from pyrodgm import plots
from pyrodgm.datasets import Dataset, evenly_spaced
from pyrodgm.experiment.results import Results, evaluate, has_bits
from pyrodgm.experiment.run import Run
from pyrodgm.experiment.text import knn_summary, table
from pyrodgm.figures import Scene, draw_pair
from pyrodgm.infer import LogLikelihood
from pyrodgm.infer.training.checkpoint import write_atomically
from pyrodgm.infer.training.loggers import write_csv
from pyrodgm.processes import first


class Report(NamedTuple):
    """Results of a pair on the test images, and the log-likelihood of each of these."""

    results: Results
    likelihood: LogLikelihood


def report(  # noqa: PLR0913 - what to evaluate, how long, and what to write
    pair: nn.Module,
    data: Dataset,
    run: Run,
    *,
    num_samples: int | None = None,
    num_images: int | None = None,
    certified: int = 0,
    encoder_samples: int = 0,
    seed: int = 0,
    figures: bool = True,
    progress: bool | None = None,
) -> Report:
    """Evaluate the pair of a run, write ``results.json``, ``log_likelihood.csv`` and, if wanted, ``figures/``.

    A :class:`Relaxed` pair is evaluated with its discrete latents. Arguments and results are those of
    :func:`evaluate`.
    """
    results, likelihood = evaluate(
        evaluated_pair(pair),
        data,
        num_samples=num_samples,
        num_images=num_images,
        certified=certified,
        encoder_samples=encoder_samples,
        seed=seed,
        seconds=run.seconds,
        progress=progress,
    )
    first(partial(_write, pair, data, run, Report(results, likelihood), figures))
    return Report(results, likelihood)


def _write(pair: nn.Module, data: Dataset, run: Run, found: Report, figures: bool) -> None:
    results, likelihood = found
    text = json.dumps(asdict(results), indent=2, allow_nan=False)
    write_atomically(run.path / "results.json", lambda file: file.write_text(text + "\n"))
    rows = evenly_spaced(len(data.test), results.num_images)
    columns = {"image": rows, "log_likelihood": likelihood.values, "ess": likelihood.ess, "k_hat": likelihood.k_hat}
    columns["stage"] = likelihood.stage
    lists = [values.tolist() for values in columns.values()]
    write_csv(
        run.path / "log_likelihood.csv", [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
    )
    if figures:
        write_figures(pair, data, run, likelihood, results.seed)


def text_report(pair: nn.Module, data: Dataset, run: Run, **options: Any) -> str:
    """:func:`report` with its results as text: a row of the table and the errors of classifications."""
    results = report(pair, data, run, **options).results
    text = table({run.path.name: results}) + knn_summary(results)
    if results.classification_error is not None:
        text += f"\n{100 * results.classification_error:.2f} % of all test images are classified wrongly"
    return text


def write_figures(pair: nn.Module, data: Dataset, run: Run, likelihood: LogLikelihood, seed: int = 0) -> list[Path]:
    """Write all figures of a run into its folder ``figures/`` as PNG files.

    Args:
        pair: The trained pair.
        data: The data it was trained on.
        run: Its run.
        likelihood: Log-likelihoods of test images.
        seed: Seed of the samples that are shown.

    Returns:
        The files: ``log_likelihood``, ``training``, and those of :func:`pyrodgm.figures.draw_pair`.
    """
    name, shown = data.name, evaluated_pair(pair)
    dimensions = data.test.images[0].numel() if has_bits(shown, data) else None
    title = f"{name}: log-likelihoods of test images"
    figures = {
        "log_likelihood": plots.log_likelihood_histogram(likelihood.values, dimensions=dimensions, title=title),
        "training": plots.training_curves(run.metrics, title=f"{name}: training"),
    }
    figures |= draw_pair(pair, Scene(shown, data, seed))
    folder = run.path / "figures"
    folder.mkdir(exist_ok=True)
    for stem, figure in figures.items():
        figure.savefig(folder / f"{stem}.png")
    return [folder / f"{stem}.png" for stem in figures]


@runtime_checkable
class Relaxed(Protocol):
    """A pair that is trained with relaxed latents and evaluated with discrete ones."""

    def discrete(self) -> nn.Module:
        """The pair with discrete latents."""
        ...


def evaluated_pair(pair: nn.Module) -> nn.Module:
    """The pair whose results are reported: a :class:`Relaxed` one with its discrete latents, any other itself."""
    return pair.discrete() if isinstance(pair, Relaxed) else pair
