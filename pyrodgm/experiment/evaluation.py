"""Evaluation of a run folder, whose weights were trained by one of the published systems."""

import importlib.util
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from pyrodgm.datasets import Dataset, evenly_spaced
from pyrodgm.experiment.data import check_evaluation
from pyrodgm.experiment.report import evaluated_pair
from pyrodgm.experiment.run import Run, load_pair, read_run, restore_config
from pyrodgm.infer import DamagedFileError, log_likelihood

if TYPE_CHECKING:
    from pyrodgm.experiment.system import ImageSystem

EXPORTS = {".nc": ("netCDF4", "h5netcdf"), ".zarr": ("zarr",)}


@dataclass(frozen=True)
class Evaluation:
    """Flags of an evaluation; None takes the value of the run."""

    num_samples: int | None = None
    """Decoder evaluations per test image."""
    num_images: int | None = None
    """Number of test images, evenly spread over the test set."""
    certified: int = 0
    """Number of data to simulate from the model for bounds of their log-likelihood from both sides."""
    encoder_samples: int | None = None
    """Draws of the encoder a test image for a second estimate, as published results were made; 0: none."""
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

    def check_export(self) -> None:
        """Raise SystemExit, before any other work, if the importance samples could not be written."""
        if self.export is None:
            return
        if self.export_images < 1:
            raise SystemExit(f"--export-images must be at least 1, got {self.export_images}")
        libraries = EXPORTS.get(self.export.suffix)
        if libraries is None:
            raise SystemExit(f"--export: expected a name that ends in {' or '.join(EXPORTS)}, got {self.export}")
        if not any(importlib.util.find_spec(name) for name in libraries):
            raise SystemExit(f"--export: to write {self.export}, install {' or '.join(libraries)}")


def evaluate_run(system: "ImageSystem[Any]", path: Path, flags: Evaluation) -> str:
    """Evaluate the best weights of a run on the test set; write results, figures and importance samples.

    Args:
        system: The published system that trained it.
        path: The run folder.
        flags: What to evaluate differently from the run.

    Returns:
        The text to print.

    Raises:
        FileNotFoundError: If the folder or a file in it is missing.
        DamagedFileError: If a file is not what was written there.
        ValueError: If a flag is out of range.
    """
    run = read_run(path)
    config, pair, data = rebuild(system, run, flags.root)
    load_pair(run, pair)
    pair.to(flags.device or config.device)
    num_samples = config.num_samples if flags.num_samples is None else flags.num_samples
    num_images = config.num_images if flags.num_images is None else flags.num_images
    seed = config.seed if flags.seed is None else flags.seed
    check_evaluation(data, num_samples, num_images)
    encoder_samples = config.encoder_samples if flags.encoder_samples is None else flags.encoder_samples
    options = {"certified": flags.certified, "encoder_samples": encoder_samples}
    check_options(system, options)
    options = {name: count for name, count in options.items() if count}
    text = system.report(
        pair, data, run, num_samples=num_samples, num_images=num_images, seed=seed, figures=flags.figures, **options
    )
    if flags.export is None:
        return text
    x = data.test.images[evenly_spaced(len(data.test), min(flags.export_images, len(data.test)))]
    samples = log_likelihood(evaluated_pair(pair), x, num_samples, keep=True, seed=seed, config=run.arguments)
    tree = samples.to_datatree()
    if flags.export.suffix == ".zarr":
        tree.to_zarr(flags.export, zarr_format=2)  # format 3 has no consolidated metadata, which readers expect
    else:
        tree.to_netcdf(flags.export)
    return f"{text}\nin {flags.export}: importance samples of {len(x)} test images"


def check_options(system: "ImageSystem[Any]", options: dict[str, int]) -> None:
    """Refuse what the report of a system does not have."""
    taken = inspect.signature(system.report).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return
    for name, count in options.items():
        if count and name not in taken:
            raise ValueError(f"{name} must be 0 for {system.name}, got {count}")


def rebuild(system: "ImageSystem[Any]", run: Run, root: str | None = None) -> tuple[Any, nn.Module, Dataset]:
    """Flags, untrained pair and data of a run.

    Args:
        system: The published system that trained it.
        run: The run.
        root: Folder of the data, if it is no longer that of the run.

    Raises:
        DamagedFileError: If ``config.json`` describes no pair that can be built.
    """
    config = restore_config(system.config, run)
    try:
        data = system.read_data(config, root)
        return config, system.build(config, data), data
    except (RuntimeError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{run.path / 'config.json'} describes no pair that can be built: {error}") from error
