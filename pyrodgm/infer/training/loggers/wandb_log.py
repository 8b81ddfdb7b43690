"""Metrics for Weights & Biases."""

from collections.abc import Mapping
from typing import Any

from pyrodgm.extras import needs_extra
from pyrodgm.infer.training.loggers.logger import flat, measured


class WandbLogger:
    """Logs to a run of Weights & Biases; needs the package ``wandb``.

    Args:
        init: Arguments of ``wandb.init``, such as ``project``, ``id`` and ``resume``.
    """

    def __init__(self, **init: Any) -> None:
        self.init = init
        self.run: Any = None

    def begin(self, config: Mapping[str, Any], step: int) -> None:
        with needs_extra("wandb"):
            import wandb

        self.run = wandb.init(**{"config": flat(config), **self.init})

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.run.log(measured(metrics), step=step)

    def end(self) -> None:
        if self.run is not None:
            self.run.finish()
