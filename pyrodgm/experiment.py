"""What examples share: reading a run folder back, test results, figures."""

import dataclasses
import json
import statistics
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import torch
from torch import Tensor, nn

from pyrodgm import plots
from pyrodgm.datasets import Dataset
from pyrodgm.infer import (
    ELBO,
    DamagedFileError,
    LogLikelihood,
    active_units,
    knn_error,
    load_weights,
    log_likelihood,
    posterior_means,
    reconstruct,
    sample,
)
from pyrodgm.infer.checkpoint import write_atomically
from pyrodgm.infer.contexts import evaluating, fork_rng
from pyrodgm.infer.records import read_csv
from pyrodgm.priors import VampPrior

C = TypeVar("C")
METRICS = ("epoch", "train_bound", "valid_bound", "kl_weight")


@dataclass(frozen=True)
class Run:
    """What a run folder says of itself.

    Attributes:
        path: The folder.
        example: Name of the example that trained it.
        arguments: The configuration of that example.
        metrics: Rows of ``metrics.csv``, one an epoch.
        seconds: Seconds that each epoch took.
    """

    path: Path
    example: str
    arguments: dict[str, Any]
    metrics: list[dict[str, float]]
    seconds: list[float]


@dataclass(frozen=True)
class Results:
    """What a trained pair reaches on test data; ``results.json`` holds these entries.

    Attributes:
        log_likelihood: Mean log p(x) of an image in nats, by importance sampling.
        standard_error: Its standard error over the images.
        elbo: Mean evidence lower bound of an image in nats.
        active_units: Number of active latent dimensions, for each latent site.
        untrusted_share: Share of the images whose Pareto k-hat exceeds 0.7.
        knn_error: Share of the images that their nearest training images, by posterior means, label wrongly, for each
            latent site; empty where there are no labels.
        num_images: Number of test images.
        num_samples: Importance samples an image.
        seed: Seed of these.
        seconds_per_epoch: Median over the epochs of training, validation included, if they are known.
    """

    log_likelihood: float
    standard_error: float
    elbo: float
    active_units: dict[str, int]
    untrusted_share: float
    knn_error: dict[str, float]
    num_images: int
    num_samples: int
    seed: int
    seconds_per_epoch: float | None


def describe(example: str, config: Any) -> dict[str, Any]:
    """What :func:`pyrodgm.infer.fit` shall keep as ``config``, so that :func:`read_run` finds it again.

    Args:
        example: Name of the example, as of its file.
        config: A dataclass of numbers, strings, truth values, None and tuples of these.
    """
    return {"example": example, "arguments": asdict(config)}


def read_run(path: Path | str) -> Run:
    """Read a run folder; its weights are for :func:`load_pair`.

    Raises:
        FileNotFoundError: If the folder or a file in it is missing; names it.
        DamagedFileError: If a file is not what was written there; names it.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is no folder, so there is no run in it")
    config = _read(path / "config.json", _parse_config)
    metrics = _read(path / "metrics.csv", lambda file: _parse_table(file, METRICS))
    times = _read(path / "times.csv", lambda file: _parse_table(file, ("epoch", "seconds")))
    return Run(path, config["example"], config["arguments"], metrics, [row["seconds"] for row in times])


def restore_config(kind: type[C], run: Run) -> C:
    """The configuration with which a run was begun, as an instance of the example's dataclass.

    Raises:
        DamagedFileError: If the arguments in ``config.json`` are not those of ``kind``; names file and argument.
    """
    file, hints = run.path / "config.json", typing.get_type_hints(kind)
    for name, value in run.arguments.items():
        if name not in hints:
            raise DamagedFileError(f"{file}: {kind.__name__} of the example {run.example} has no argument {name!r}")
        if not _fits(value, hints[name]):
            raise DamagedFileError(f"{file}: expected {name} to be {hints[name]}, got {value!r}")
    missing = [field.name for field in dataclasses.fields(kind) if field.name not in run.arguments]  # type: ignore[arg-type]
    if missing:
        raise DamagedFileError(f"{file}: the arguments {', '.join(missing)} are missing")
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in run.arguments.items()})


def check_resumable(path: Path | str, example: str, config: Any, free: tuple[str, ...]) -> None:
    """Make sure that a run, if there is one at ``path``, was begun with this configuration.

    Args:
        path: The run folder.
        example: Name of the example.
        config: Its configuration.
        free: Names of the arguments that need not be the same.

    Raises:
        ValueError: If another argument differs; names each with both values.
    """
    if not (Path(path) / "state.pt").exists():
        return
    old = _read(Path(path) / "config.json", _parse_config)
    new = json.loads(json.dumps(describe(example, config)))
    if old["example"] != example:
        raise ValueError(f"{path} holds a run of the example {old['example']}, not {example}")
    changed = [
        f"{name}: was {old['arguments'].get(name)!r}, is {value!r}"
        for name, value in new["arguments"].items()
        if name not in free and old["arguments"].get(name) != value
    ]
    if changed:
        raise ValueError(f"the run in {path} was begun with other arguments ({'; '.join(changed)})")


def load_pair(run: Run, pair: nn.Module) -> None:
    """Load the best weights of a run into a pair of the same architecture.

    Raises:
        FileNotFoundError: If there are none.
        DamagedFileError: If they are damaged, or not those of such a pair; names the file.
    """

    def load(file: Path) -> None:
        try:
            load_weights(pair, file)
        except RuntimeError as error:
            raise DamagedFileError(f"{file} is not of the pair that config.json describes: {error}") from error

    _read(run.path / "best.safetensors", load)


def evaluate(
    pair: nn.Module,
    data: Dataset,
    *,
    num_samples: int = 5000,
    num_images: int | None = None,
    seed: int = 0,
    seconds: Sequence[float] = (),
    progress: bool | None = None,
) -> tuple[Results, LogLikelihood]:
    """Evaluate a pair on test data.

    Args:
        pair: A trained pair with ``model(x)`` and ``guide(x)``.
        data: The data it was trained on; its test images are evaluated.
        num_samples: Importance samples an image.
        num_images: Number of test images, at least 2, evenly spread over the split; all by default.
        seed: Seed of everything random here; the caller's random state is left as it was.
        seconds: Seconds that each epoch of training took.
        progress: Whether to show a progress bar; by default where the output is a terminal.

    Returns:
        The results, and the log-likelihood of each image.

    Raises:
        ValueError: If ``data`` has fewer test images than ``num_images``, or ``num_images`` is less than 2.
    """
    rows = spread(len(data.test), len(data.test) if num_images is None else num_images)
    first = next(pair.parameters())
    x = data.test.images[rows].to(first.device, first.dtype)
    likelihood = log_likelihood(pair, x, num_samples, seed=seed, progress=progress)
    with fork_rng(first.device):
        torch.manual_seed(seed)
        elbo, units, errors = _elbo(pair, x), active_units(pair, x), _knn_errors(pair, data, x, rows)
    results = Results(
        log_likelihood=likelihood.mean,
        standard_error=likelihood.standard_error,
        elbo=elbo,
        active_units=units,
        untrusted_share=likelihood.untrusted_share,
        knn_error=errors,
        num_images=len(x),
        num_samples=num_samples,
        seed=seed,
        seconds_per_epoch=statistics.median(seconds) if seconds else None,
    )
    return results, likelihood


def report(
    pair: nn.Module,
    data: Dataset,
    run: Run,
    *,
    num_samples: int = 5000,
    num_images: int | None = None,
    seed: int = 0,
    figures: bool = True,
    progress: bool | None = None,
) -> tuple[Results, LogLikelihood]:
    """Evaluate the pair of a run, write ``results.json`` and, if wanted, all figures into ``figures/``.

    Arguments and what is returned are those of :func:`evaluate`.
    """
    results, likelihood = evaluate(
        pair,
        data,
        num_samples=num_samples,
        num_images=num_images,
        seed=seed,
        seconds=run.seconds,
        progress=progress,
    )
    text = json.dumps(asdict(results), indent=2, allow_nan=False)
    write_atomically(run.path / "results.json", lambda file: file.write_text(text + "\n"))
    if figures:
        write_figures(pair, data, run, likelihood, seed)
    return results, likelihood


def write_figures(pair: nn.Module, data: Dataset, run: Run, likelihood: LogLikelihood, seed: int = 0) -> list[Path]:
    """Write all figures of a run into its folder ``figures/`` as PNG files.

    Args:
        pair: The trained pair.
        data: The data it was trained on.
        run: Its run.
        likelihood: Log-likelihoods of test images.
        seed: Seed of the samples that are shown.

    Returns:
        The files: ``real``, ``reconstructions``, ``samples``, ``log_likelihood``, ``training`` and, for a VampPrior,
        ``pseudo_inputs`` and ``grown_samples``.
    """
    first = next(pair.parameters())
    shape, name = data.image_shape, data.name
    real = data.test.images[spread(len(data.test), min(100, len(data.test)))].to(first.device, first.dtype)
    few = real[spread(len(real), min(50, len(real)))]
    with fork_rng(first.device):
        torch.manual_seed(seed)
        figures = {
            "real": plots.image_grid(real, shape, title=f"{name}: test images"),
            "reconstructions": plots.reconstructions(
                few, reconstruct(pair, few), shape, title=f"{name}: test images, each with its reconstruction"
            ),
            "samples": plots.image_grid(sample(pair, real), shape, title=f"{name}: samples from the model (means)"),
            "log_likelihood": plots.log_likelihood_histogram(
                likelihood.values, title=f"{name}: log-likelihoods of test images"
            ),
            "training": plots.training_curves(run.metrics, title=f"{name}: training"),
        }
        vamp = next((module for module in pair.modules() if isinstance(module, VampPrior)), None)
        if vamp is not None:
            u = vamp.pseudo_inputs.detach()
            chosen = u[spread(len(u), min(8, len(u)))]
            grown = reconstruct(pair, chosen.repeat_interleave(12, 0)).unflatten(0, (len(chosen), 12))
            shown = u[spread(len(u), min(100, len(u)))]
            figures["pseudo_inputs"] = plots.image_grid(shown, shape, title=f"{name}: pseudo-inputs")
            figures["grown_samples"] = plots.grown_samples(
                chosen, grown, shape, title=f"{name}: pseudo-inputs (left) and samples grown from each (means)"
            )
    folder = run.path / "figures"
    folder.mkdir(exist_ok=True)
    for stem, figure in figures.items():
        figure.savefig(folder / f"{stem}.png")
    return [folder / f"{stem}.png" for stem in figures]


def table(results: Mapping[str, Results]) -> str:
    """Results as an aligned text table, a row for each name."""
    head = ["", "test log p(x)", "ELBO", "active units", "k-hat > 0.7", "s/epoch"]
    rows = [head]
    for name, r in results.items():
        units = ", ".join(f"{n}" if len(r.active_units) == 1 else f"{site} {n}" for site, n in r.active_units.items())
        rows.append(
            [
                name,
                f"{r.log_likelihood:.2f} ± {r.standard_error:.2f}",
                f"{r.elbo:.2f}",
                units,
                f"{100 * r.untrusted_share:.1f} %",
                "?" if r.seconds_per_epoch is None else f"{r.seconds_per_epoch:.3g}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def spread(total: int, count: int) -> Tensor:
    """``count`` row numbers, ``[count]``, evenly spread over ``total`` rows: files are often sorted by class.

    Raises:
        ValueError: If ``count`` is less than 1 or more than ``total``.

    Example:
        >>> spread(10, 4).tolist()
        [0, 2, 5, 7]
    """
    if not 1 <= count <= total:
        raise ValueError(f"count: expected a number of images from 1 to {total}, got {count}")
    return torch.arange(count) * total // count


def _elbo(pair: Any, x: Tensor) -> float:
    estimator, loss = ELBO(num_particles=10), 0.0
    with evaluating(pair):
        for block in x.split(500):
            loss += float(estimator.differentiable_loss(pair.model, pair.guide, block))
    return -loss / len(x)


def _knn_errors(pair: nn.Module, data: Dataset, x: Tensor, rows: Tensor) -> dict[str, float]:
    if data.train.labels is None or data.test.labels is None:
        return {}
    train_labels, test_labels = data.train.labels, data.test.labels[rows]
    near, far = posterior_means(pair, x), posterior_means(pair, data.binarize(data.train.images))
    return {site: knn_error(far[site], train_labels, near[site], test_labels) for site in near}


def _read(file: Path, parse: Callable[[Path], Any]) -> Any:
    """What ``parse`` makes of a file; whatever is wrong with it becomes an error with the file's name."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: {file.parent} holds no finished epoch of a run")
    try:
        return parse(file)
    except DamagedFileError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{file} is damaged: {error}") from error


def _parse_config(file: Path) -> dict[str, Any]:
    config = json.loads(file.read_text(encoding="utf-8"))["config"]
    if not isinstance(config, dict) or not _fits(config.get("example"), str):
        raise ValueError("expected the name of an example in it")
    if not isinstance(config.get("arguments"), dict):
        raise ValueError("expected the arguments of an example in it")
    return config


def _parse_table(file: Path, columns: tuple[str, ...]) -> list[dict[str, float]]:
    rows = read_csv(file)
    missing = [name for name in columns if not rows or name not in rows[0]]
    if missing:
        raise ValueError(f"expected a row an epoch with {', '.join(columns)}; missing are {', '.join(missing)}")
    return rows


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from a JSON file is of a type."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value)
    if hint is float:
        return type(value) in (int, float)
    return value is None if hint is type(None) else type(value) is hint
