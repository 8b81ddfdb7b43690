"""Learning-rate schedules of the published systems that PyTorch does not have, and what its own lacks for bounds."""

import math
from typing import Any

import torch

from pyrodgm.arithmetic.arguments import finite_number, whole_number


class BurdaSchedule(torch.optim.lr_scheduler.LRScheduler):
    r"""Stages of b^i epochs, i = 0, ..., S - 1, at learning rates that fall from the first to a tenth of it.

    .. math:: \eta_i = \eta\, 10^{-i / (S - 1)}

    Stepped once an epoch, as :func:`pyrodgm.infer.fit` does; after the last stage the rate stays. The published
    schedule has base 3 and 8 stages, 3,280 epochs (base 2, 255 epochs, for Caltech 101 Silhouettes), with Adam at 1e-3.

    Args:
        optimizer: The optimiser whose learning rates it sets.
        epochs: Length of all stages together, over which their ends are spread in proportion; by default as published.
        base: How many times as long each stage is as the one before, b > 1.
        stages: Number of stages S, at least 2.

    Raises:
        ValueError: If an argument is out of range.

    Source: Burda, Grosse and Salakhutdinov (2015), arXiv 1509.00519, §5.

    Example:
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1e-3)
        >>> schedule = BurdaSchedule(optimizer)
        >>> [round(schedule.rate(epoch), 4) for epoch in (0, 1, 3, 4, 3279)]
        [1.0, 0.7197, 0.7197, 0.5179, 0.1]
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, epochs: float | None = None, base: float = 3.0, stages: int = 8
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer must be a torch optimiser, got {optimizer!r}")
        base = finite_number("base", base, above=1.0)
        stages = whole_number("stages", stages, 2)
        published = (base**stages - 1) / (base - 1)
        epochs = published if epochs is None else finite_number("epochs", epochs, above=0.0)
        self.stages = stages
        self.ends = [epochs / published * (base ** (i + 1) - 1) / (base - 1) for i in range(stages)]
        super().__init__(optimizer)

    def rate(self, epoch: int) -> float:
        """The share of the first learning rate that an epoch, from 0, is trained with."""
        stage = sum(epoch >= end - 1e-9 for end in self.ends)
        return 10.0 ** (-min(stage, self.stages - 1) / (self.stages - 1))

    def get_lr(self) -> list[Any]:
        return [rate * self.rate(self.last_epoch) for rate in self.base_lrs]


def point_upwards(scheduler: torch.optim.lr_scheduler.ReduceLROnPlateau) -> None:
    """Make a relative threshold ask for an improvement where the best score is negative, as bounds are.

    PyTorch compares with ``best * (1 + threshold)``, which lies below a negative best: every worse score would pass.
    """
    if scheduler.threshold_mode == "rel":
        negative = -math.inf < scheduler.best < 0.0
        scheduler.threshold = math.copysign(scheduler.threshold, -1.0 if negative else 1.0)
