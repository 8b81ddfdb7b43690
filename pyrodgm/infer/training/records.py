"""What a training run leaves: its folder, and what loggers make of it."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pyrodgm.infer.training.loggers import Logger, TensorBoardLogger
from pyrodgm.infer.training.loggers.tensorboard_log import has_tensorboard
from pyrodgm.infer.training.loop import Training
from pyrodgm.infer.training.resumable import Row
from pyrodgm.infer.training.run_folder import RunFolder


class Records:
    """The run folder and the loggers of one run, which the first process has for all.

    Args:
        stack: Closes both in the end.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.folder: RunFolder | None = None
        self.loggers: list[Logger] = []

    def open(
        self,
        training: Training,
        path: Path | None,
        resume: bool,
        decisive: Mapping[str, Any],
        identity: Callable[[], dict[str, Any]],
    ) -> None:
        """Open the folder, bring the run to where the one in it was, and begin the logs."""
        settings = training.plan.settings
        self.loggers += settings.loggers
        if path is not None:
            decisive = {**decisive, "data": identity()}
            self.folder = RunFolder(path, resume, decisive, settings.config, training.pair)
            self.stack.callback(self.folder.close)
            self.folder.restore(training)
            if has_tensorboard():
                self.loggers.append(TensorBoardLogger(path / "tensorboard"))
        for logger in self.loggers:
            self.stack.callback(logger.end)
            logger.begin({**decisive, "config": settings.config or {}}, training.steps)

    def write(self, training: Training, row: Row) -> None:
        """Write what an epoch changed."""
        if self.folder is not None:
            self.folder.write(training)
        for logger in self.loggers:
            logger.log(row, training.steps)
