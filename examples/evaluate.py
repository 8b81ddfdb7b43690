"""Evaluate the best weights of a run folder on the test set.

    python examples/evaluate.py runs/static_mnist-vae-vampprior-14 --num-samples 10000

Prints a row of the table and the kNN error of the latent means, and replaces `results.json` and the figures in the run
folder. Nothing in the run folder is executed: its `config.json` names one of the examples that lie beside this file.
Such an example has a dataclass `Config` that extends that of all examples, and a function `build(config, data)` that
returns the untrained pair; where the data are not just those of `experiment.load_data`, a function
`load_data(config, root)` too; and where its results are of another kind, a function `report` with the arguments of
`experiment.report`, which writes them and returns what is printed here.
"""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import torch
import tyro

from pyrodgm import datasets, experiment
from pyrodgm.infer import DamagedFileError, log_likelihood

EXPORTS = {".nc": ("netCDF4", "h5netcdf"), ".zarr": ("zarr",)}


@dataclass(frozen=True)
class Config:
    """Evaluate a run on the test set. What is left out is as it was in the run."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder."""
    num_samples: int | None = None
    """Importance samples a test image."""
    num_images: int | None = None
    """Number of test images, evenly spread over the test set."""
    seed: int | None = None
    """Seed of the importance samples."""
    root: str | None = None
    """Folder of the data."""
    device: str | None = None
    """Where to evaluate, as PyTorch calls it."""
    figures: bool = True
    """Write figures into the run folder."""
    export: Path | None = None
    """File for the importance samples as an ArviZ DataTree: NAME.nc (netCDF) or NAME.zarr."""
    export_images: int = 100
    """Number of test images whose samples are exported."""


def main(config: Config) -> None:
    """Evaluate, write results and figures, print them."""
    if config.export is not None:
        _check_export(config.export, config.export_images)
    try:
        example = _load_example(config.run)
        run = experiment.read_run(config.run)
        trained, pair, data = _rebuild(example, run, config.root)
        experiment.load_pair(run, pair)
    except (FileNotFoundError, DamagedFileError) as error:
        raise SystemExit(f"{config.run} cannot be evaluated: {error}") from error
    pair.to(config.device or trained.device)
    num_samples = trained.num_samples if config.num_samples is None else config.num_samples
    num_images = trained.num_images if config.num_images is None else config.num_images
    seed = trained.seed if config.seed is None else config.seed
    try:
        experiment.check_evaluation(data, num_samples, num_images)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    report = getattr(example, "report", _report)
    print(report(pair, data, run, num_samples=num_samples, num_images=num_images, seed=seed, figures=config.figures))
    if config.export is not None:
        x = data.test.images[experiment.spread(len(data.test), min(config.export_images, len(data.test)))]
        evaluated = experiment.evaluated_pair(pair)
        likelihood = log_likelihood(evaluated, x, num_samples, keep=True, seed=seed, config=run.arguments)
        tree = likelihood.to_datatree()
        (tree.to_zarr if config.export.suffix == ".zarr" else tree.to_netcdf)(config.export)
        print(f"in {config.export}: importance samples of {len(x)} test images")


def _report(pair: torch.nn.Module, data: datasets.Dataset, run: experiment.Run, **options: Any) -> str:
    """Write results and figures; returns the row of the table."""
    results, _ = experiment.report(pair, data, run, **options)
    text = experiment.table({run.path.name: results}) + experiment.knn_summary(results)
    if results.classification_error is not None:
        text += f"\n{100 * results.classification_error:.2f} % of all test images are classified wrongly"
    return text


def _rebuild(
    example: ModuleType, run: experiment.Run, root: str | None
) -> tuple[Any, torch.nn.Module, datasets.Dataset]:
    """Configuration, untrained pair and data of a run."""
    trained = experiment.restore_config(example.Config, run)
    try:
        load = getattr(example, "load_data", lambda config, root: experiment.load_data(config, root=root))
        data = load(trained, root)
        return trained, example.build(trained, data), data
    except (RuntimeError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{run.path / 'config.json'} describes no pair that can be built: {error}") from error


def _load_example(path: Path) -> ModuleType:
    """The module of the example that trained a run, looked up by name among the files beside this one only."""
    folder, name = Path(__file__).parent, experiment.read_config(path)["example"]
    files = {file.stem: file for file in folder.glob("*.py") if "\ndef build(" in file.read_text(encoding="utf-8")}
    if name not in files:
        known = ", ".join(sorted(files))
        raise DamagedFileError(f"{path / 'config.json'} names the example {name!r}; in {folder} are {known}")
    spec = importlib.util.spec_from_file_location(name, files[name])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look up their annotations
    spec.loader.exec_module(module)
    if not issubclass(module.Config, experiment.TrainingConfig):
        raise SystemExit(f"{path} is a run of {name}.py, which trains on no images and measures its runs itself")
    return module


def _check_export(file: Path, num_images: int) -> None:
    """End before the work begins if the file could not be written after it."""
    if num_images < 1:
        raise SystemExit(f"--export-images must be at least 1, got {num_images}")
    if file.suffix not in EXPORTS:
        raise SystemExit(f"--export: expected a name that ends in {' or '.join(EXPORTS)}, got {file}")
    libraries = EXPORTS[file.suffix]
    if not any(importlib.util.find_spec(name) for name in libraries):
        raise SystemExit(f"--export: to write {file}, install {' or '.join(libraries)}")


if __name__ == "__main__":
    main(tyro.cli(Config))
