"""Metrics for TensorBoard."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyrodgm.extras import needs_extra
from pyrodgm.infer.training.loggers.logger import measured


class TensorBoardLogger:
    """Writes each metric as a scalar of its name, over optimiser steps; needs the package ``tensorboard``.

    Args:
        folder: Folder of the event files.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.writer: Any = None

    def begin(self, config: Mapping[str, Any], step: int) -> None:
        with needs_extra("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.folder), purge_step=step + 1)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in measured(metrics).items():
            if name != "epoch":
                self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def end(self) -> None:
        if self.writer is not None:
            self.writer.close()


def has_tensorboard() -> bool:
    """Whether the package ``tensorboard`` is installed."""
    return importlib.util.find_spec("tensorboard") is not None
