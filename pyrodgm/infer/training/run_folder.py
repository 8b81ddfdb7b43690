"""The folder of a training run."""

import json
import platform
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyro
import torch

import pyrodgm
from pyrodgm.infer.training.checkpoint import DamagedFileError, load_state, save_state, save_weights, write_atomically
from pyrodgm.infer.training.loggers import write_csv
from pyrodgm.infer.training.resumable import Resumable


class RunFolder:
    """Holds ``config.json``, ``metrics.csv``, ``times.csv``, ``best.safetensors`` and ``state.pt``.

    Each file is replaced whole, ``state.pt`` last, so that what is in the folder is never older than the state from
    which a run is resumed, and going on from there writes the same again.

    Args:
        path: The folder; made if it is not there.
        resume: Whether a run that the folder already holds is to go on.
        settings: What must be the same for a run to go on.
        config: What else ``config.json`` shall say.

    Raises:
        FileExistsError: If the folder holds a run and ``resume`` is false.
        ValueError: If the run in the folder has other settings.
    """

    def __init__(self, path: Path, resume: bool, settings: dict[str, Any], config: dict[str, Any] | None) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.state_file, config_file = path / "state.pt", path / "config.json"
        if config_file.exists() and self.state_file.exists():
            if not resume:
                raise FileExistsError(f"{path} holds a run: resume it with resume=True, or name another run_dir")
            old = _read_settings(config_file)
            changed = [f"{k}: was {old.get(k)!r}, is {v!r}" for k, v in settings.items() if old.get(k) != v]
            if changed:
                raise ValueError(f"the run in {path} was begun with other settings ({'; '.join(changed)})")
        versions = {"pyrodgm": pyrodgm.__version__, "torch": torch.__version__, "pyro": pyro.__version__}
        versions["python"] = platform.python_version()
        text = json.dumps({"versions": versions, "settings": settings, "config": config or {}}, indent=2)
        write_atomically(config_file, lambda p: p.write_text(text + "\n"))

    def restore(self, training: Resumable) -> None:
        """Bring ``training`` to where the run in the folder was."""
        if self.state_file.exists():
            training.load(load_state(self.state_file))

    def write(self, training: Resumable) -> None:
        """Keep what an epoch brought."""
        if training.best_epoch == training.epoch:
            save_weights(training.best_weights, self.path / "best.safetensors")
        write_csv(self.path / "metrics.csv", training.rows)
        name = next(iter(training.rows[0]))
        times = [{name: row[name], "seconds": s} for row, s in zip(training.rows, training.seconds, strict=True)]
        write_csv(self.path / "times.csv", times)
        save_state(training.state(), self.state_file)


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{file} is damaged: {error}") from error


def describe(maker: Any) -> str | None:
    """A text that stays the same from run to run, for noticing that a run is resumed with another optimiser."""
    if isinstance(maker, partial):
        return f"{describe(maker.func)}{dict(maker.keywords)}"
    if is_dataclass(maker):
        return repr(maker)
    return None if maker is None else getattr(maker, "__qualname__", type(maker).__name__)
