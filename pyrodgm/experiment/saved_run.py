"""Any run of :func:`pyrodgm.infer.fit`, read back from its folder."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pyrodgm.datasets import Dataset, Text, load_text
from pyrodgm.datasets import load as load_dataset
from pyrodgm.datasets.registry import LOADERS
from pyrodgm.datasets.texts import TEXTS
from pyrodgm.infer import DamagedFileError, load_weights
from pyrodgm.infer.training.feeds.identity import describe_data
from pyrodgm.infer.training.fingerprint import differences
from pyrodgm.infer.training.loggers import read_csv
from pyrodgm.infer.training.saving import BEST, PAIR, load


@dataclass(frozen=True)
class SavedRun:
    """A run of ``fit``.

    Attributes:
        path: Its folder.
        pair: The pair with the weights of the best epoch, in evaluation mode.
        data: What is known of the data: size and digest of each part, and of a data set its name.
        metrics: One row per epoch, as :class:`pyrodgm.infer.FitResult` has them.
        seconds: Seconds that each epoch took.
        settings: What decided the result, by name, as data.
        config: What the run was given as ``config``.
        versions: Those of pyrodgm, PyTorch, Pyro and Python that wrote it last.
        results: The content of ``results.json``; None if the run was not evaluated.
    """

    path: Path
    pair: nn.Module
    data: dict[str, Any]
    metrics: list[dict[str, float]]
    seconds: list[float]
    settings: dict[str, Any]
    config: dict[str, Any]
    versions: dict[str, str]
    results: dict[str, Any] | None

    def load_data(self, root: Path | str | None = None) -> Dataset | Text:
        """The data set, if it is one that :mod:`pyrodgm.datasets` loads by name.

        Args:
            root: Folder of the data, as of :func:`pyrodgm.datasets.load`.

        Raises:
            ValueError: If it is none of these, or no longer the one that the run was trained on.
        """
        name, text = self.data.get("name"), "image_shape" not in self.data
        if name is None or name not in (TEXTS if text else LOADERS):
            own = f"they were a user's own, {self.data}"
            raise ValueError(f"the data of {self.path} have no name that can be loaded: {own}")
        found = load_text(name, root) if text else load_dataset(name, root)
        changed = differences(self.data, describe_data(found))
        if changed:
            raise ValueError(f"{name} is not what {self.path} was trained on ({'; '.join(changed)})")
        return found


def load_run(folder: Path | str, *, pair: nn.Module | None = None, device: torch.device | str = "cpu") -> SavedRun:
    """Read the folder of any run of ``fit``; what :func:`pyrodgm.load` says of files of others holds here too.

    Args:
        folder: The ``run_dir`` of the run.
        pair: A pair built as that of the run was, which takes the weights; needed only where the pair could not be
            written as data, so that there is no ``pair.json``.
        device: Where the weights go.

    Raises:
        FileNotFoundError: If the folder or a file in it is missing; names it.
        DamagedFileError: If a file is not what was written there, or the weights are not those of ``pair``; names it.
        ImportError: If a class of the pair cannot be imported.

    Example:
        >>> import tempfile
        >>> from pyrodgm.infer import fit
        >>> from pyrodgm.priors import MixtureOfGaussians
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.models import VAE
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> vae = VAE(MixtureOfGaussians(2, 3), BernoulliLikelihood(mlp(2, [], 6)), GaussianPosterior(mlp(6, [], 4)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = fit(vae, torch.ones(20, 6), epochs=2, run_dir=folder)
        ...     run = load_run(folder)
        >>> len(run.metrics), run.data["training"]["rows"], type(run.pair).__name__
        (2, 20, 'VAE')
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder, so there is no run in it")
    described = _read(folder / "config.json", _parse_config)
    metrics, times = (_read(folder / name, read_csv) for name in ("metrics.csv", "times.csv"))
    results = folder / "results.json"
    return SavedRun(
        path=folder,
        pair=_load_pair(folder, pair, device).eval(),
        data=described["settings"].get("data", {}),
        metrics=metrics,
        seconds=_read(folder / "times.csv", lambda _: [row["seconds"] for row in times]),
        settings=described["settings"],
        config=described["config"],
        versions=described["versions"],
        results=_read(results, lambda file: json.loads(file.read_text(encoding="utf-8"))) if results.exists() else None,
    )


def _load_pair(folder: Path, pair: nn.Module | None, device: torch.device | str) -> nn.Module:
    if pair is None:
        if not (folder / PAIR).exists():
            raise FileNotFoundError(
                f"{folder / PAIR} is missing: the pair could not be written as data; give one built alike as pair="
            )
        return load(folder, device)
    try:
        load_weights(pair, folder / BEST)
    except RuntimeError as error:
        raise DamagedFileError(f"{folder / BEST} is not of such a pair: {error}") from error
    return pair.to(device)


def _read(file: Path, parse: Callable[[Path], Any]) -> Any:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: {file.parent} holds no finished epoch of a run")
    try:
        return parse(file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFileError(f"{file} is damaged: {error}") from error


def _parse_config(file: Path) -> dict[str, Any]:
    content = json.loads(file.read_text(encoding="utf-8"))
    for name in ("settings", "config", "versions"):
        if not isinstance(content[name], dict):
            raise TypeError(f"{name} must be a dictionary, got {content[name]!r}")
    return content
