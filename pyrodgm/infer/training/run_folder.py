"""The folder of a training run."""

import copy
import json
import logging
import platform
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor, nn

import pyrodgm
from pyrodgm.damaged_file import DamagedFileError
from pyrodgm.extras import needs_extra
from pyrodgm.infer.training.architecture import Architecture, describe
from pyrodgm.infer.training.checkpoint import (
    digest,
    load_state,
    read_weights,
    save_state,
    save_weights,
    write_text,
)
from pyrodgm.infer.training.fingerprint import architecture, differences, fingerprint, incomparable
from pyrodgm.infer.training.folder_lock import FolderLock
from pyrodgm.infer.training.loggers.csv_log import csv_text
from pyrodgm.infer.training.resumable import Resumable, Row
from pyrodgm.infer.training.saving import BEST, CONSTANTS, PAIR, write_pair
from pyrodgm.infer.training.state_check import check_state
from pyrodgm.processes import current_job, restarted_job

CONFIG, STATE, METRICS, TIMES = "config.json", "state.pt", "metrics.csv", "times.csv"

logger = logging.getLogger(__name__)


class RunFolder:
    """Holds ``config.json``, ``pair.json``, ``state.pt``, ``best.safetensors``, ``metrics.csv`` and ``times.csv``.

    Each file is replaced whole. ``state.pt`` is written first of those that an epoch changes and has everything that
    the others show, so they are written again from it when the run is resumed and one is missing or an epoch behind.
    One process at a time has the folder, until :meth:`close`.

    Args:
        path: The folder; made if it does not exist.
        resume: Whether a run that the folder already holds is resumed; one of processes that ``torchrun`` has
            restarted is anyway.
        settings: What must be the same for a run to be resumed.
        config: Further entries of ``config.json``.
        pair: The pair, whose architecture must be the same too.

    Raises:
        FileExistsError: If the folder holds a run, or parts of one, and ``resume`` is false.
        FileNotFoundError: If it holds parts of a run but not its ``state.pt``.
        FolderInUseError: If another run writes to it.
        ValueError: If the run in it has other settings; names each with both values.
        DamagedFileError: If a file in it is not what was written there; names it.
    """

    def __init__(
        self,
        path: Path,
        resume: bool,
        settings: Mapping[str, Any],
        config: Mapping[str, Any] | None,
        pair: nn.Module,
    ) -> None:
        with needs_extra("runs"):
            import safetensors  # noqa: F401  # missed before training, not after an epoch of it
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(path)
        try:
            self._described = {"settings": fingerprint(settings), "config": _plain(config or {})}
            self._architecture = architecture(pair)
            self._best: list[str] = []  # digests of the best weights and of those before them
            self._state = self._read_state(resume)
            if self._state is None:
                self._write_architecture(pair)
            self._write_config()
        except BaseException:
            self.close()
            raise

    def restore(self, training: Resumable) -> None:
        """Bring ``training`` to where the run in the folder was, and the other files with it."""
        if self._state is None:
            return
        start = copy.deepcopy(training.state())
        try:
            check_state(self._state, start)
            training.load(self._state)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
            training.load(start)
            raise DamagedFileError(f"{self.path / STATE} holds no state of this run: {error}") from error
        self._state = None
        self._write_again(training)

    def write(self, training: Resumable) -> None:
        """Write what an epoch changed."""
        if training.best_epoch == training.epoch:
            self._best = [*self._best[-1:], digest(training.best_weights)]
        run = {**self._described, "architecture": self._architecture, "best": self._best, "job": current_job()}
        save_state({**training.whole_state(), "run": run}, self.path / STATE)
        if training.best_epoch == training.epoch:
            self._write_best(training)
        for name, rows in _tables(training).items():
            write_text(self.path / name, csv_text(rows))

    def close(self) -> None:
        """Let other runs have the folder."""
        self._lock.release()

    def _read_state(self, resume: bool) -> dict[str, Any] | None:
        """The state in the folder, if there is one, once it is that of this run."""
        left = [name for name in (STATE, BEST, METRICS, TIMES) if (self.path / name).exists()]
        if not left:
            return None
        if not resume and not self._was_begun_by_this_job(left):
            raise FileExistsError(f"{self.path} holds a run: resume it with resume=True, or name another run_dir")
        if STATE not in left:
            raise FileNotFoundError(
                f"{self.path / STATE} is missing, so the run of which {', '.join(left)} are left cannot be resumed: "
                "name another run_dir, or move them elsewhere"
            )
        written = self._read_config()
        state = load_state(self.path / STATE)
        try:
            run = state.pop("run")
            old = {**run["settings"], "architecture": run["architecture"]}
            self._best = list(run["best"])
        except (KeyError, TypeError) as error:
            raise DamagedFileError(f"{self.path / STATE} is damaged: it holds no state of a run") from error
        if written is not None and (changed := differences(run["settings"], written)):
            raise DamagedFileError(f"{self.path / CONFIG} is not that of the run in {STATE} ({'; '.join(changed)})")
        new = {**self._described["settings"], "architecture": self._architecture}
        changed = differences(old, new)
        if changed:
            raise ValueError(f"the run in {self.path} was begun with other settings ({'; '.join(changed)})")
        for name in incomparable(new):
            warnings.warn(f"whether {name} is the same as when the run was begun cannot be seen", stacklevel=4)
        return state

    def _was_begun_by_this_job(self, left: list[str]) -> bool:
        """Whether ``torchrun`` has restarted processes that wrote this run."""
        job = restarted_job()
        return job is not None and STATE in left and load_state(self.path / STATE)["run"].get("job") == job

    def _read_config(self) -> Any:
        """The settings in ``config.json``; None if it is lost, which the state makes up for."""
        file = self.path / CONFIG
        if not file.exists():
            logger.warning("%s is missing and is written again from %s", file, STATE)
            return None
        try:
            return json.loads(file.read_text(encoding="utf-8"))["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedFileError(f"{file} is damaged: {error!r}; once deleted, it is written again") from error

    def _write_config(self) -> None:
        versions = {"pyrodgm": pyrodgm.__version__, "torch": torch.__version__, "pyro": pyro.__version__}
        versions["python"] = platform.python_version()
        write_text(self.path / CONFIG, json.dumps({"versions": versions, **self._described}, indent=2) + "\n")

    def _write_architecture(self, pair: nn.Module) -> None:
        """Write the pair as data, where that is possible, without the weights that ``best.safetensors`` will have."""
        try:
            described = describe(pair)
        except ValueError as error:
            logger.info("%s is not written, so only a program that builds the pair can load it: %s", PAIR, error)
            return
        constants = _constants(pair, described)
        if constants:
            save_weights(constants, self.path / CONSTANTS)
        write_pair(self.path, described.parts, {})

    def _write_again(self, training: Resumable) -> None:
        """Write again what is missing or an epoch behind; refuse what is of another run."""
        best = self.path / BEST
        if training.best_epoch and (self._is_lost(best) or self._is_before(best)):
            self._write_best(training)
        for name, rows in _tables(training).items():
            file = self.path / name
            if not self._is_lost(file):
                written = file.read_bytes()
                if written == csv_text(rows).encode():
                    continue
                if written != csv_text(rows[:-1]).encode():  # the run was killed after it wrote its state
                    raise DamagedFileError(f"{file} is damaged: it has other rows than the run in {STATE}")
            write_text(file, csv_text(rows))

    def _is_lost(self, file: Path) -> bool:
        if not file.exists():
            logger.warning("%s is missing and is written again from %s", file, STATE)
        return not file.exists()

    def _is_before(self, best: Path) -> bool:
        """Whether the weights in the file are those before the best of the run; an error if they are others."""
        found = digest(read_weights(best))
        if found not in self._best:
            raise DamagedFileError(f"{best} holds other weights than the run in {STATE}")
        return found != self._best[-1]

    def _write_best(self, training: Resumable) -> None:
        save_weights(training.best_weights, self.path / BEST)


def _tables(training: Resumable) -> dict[str, list[Row]]:
    """The rows of each table."""
    first = next(iter(training.rows[0]))
    pairs = zip(training.rows, training.seconds, strict=True)
    return {METRICS: training.rows, TIMES: [{first: row[first], "seconds": seconds} for row, seconds in pairs]}


def _constants(pair: nn.Module, described: Architecture) -> dict[str, Tensor]:
    """The tensors that the state of the pair leaves out."""
    return {name: tensor for name, tensor in described.tensors.items() if name not in pair.state_dict()}


def _plain(config: Mapping[str, Any]) -> Any:
    """What JSON gives back."""
    try:
        return json.loads(json.dumps(config))
    except (TypeError, ValueError) as error:
        raise TypeError(f"config must hold what JSON can, got {config!r}: {error}") from error
