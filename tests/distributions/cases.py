"""The rows of the generic distribution test, and the grids that they are integrated over."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pyro.distributions import TorchDistribution
from scipy import special, stats
from torch import Tensor

from pyrodgm import distributions as dgm

Grid = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """One distribution: `build(**params)`, its oracle and a grid of `(points, volumes)` to integrate over.

    `log_density(value, **params)` takes and gives NumPy arrays, for one element of the batch.
    """

    name: str
    build: Callable[..., TorchDistribution]
    params: dict[str, Tensor]
    log_density: Callable[..., Any]
    points: Tensor
    grid: Callable[[], Grid]
    outside: list[Any]
    float32_error: float = 1e-5
    batch: int = 2
    event_dim: int = 0
    discrete: bool = False

    def distribution(self, dtype: torch.dtype = torch.float64, device: str = "cpu", **kwargs: Any) -> TorchDistribution:
        return self.build(**{k: v.to(device, dtype) for k, v in self.params.items()}, **kwargs)

    def element(self, index: int) -> dict[str, np.ndarray]:
        """The parameters of one element of the batch."""
        return {name: value[index].numpy() for name, value in self.params.items()}


def plane_grid() -> Grid:
    side = torch.linspace(-9, 9, 301)
    points = torch.cartesian_prod(side, side)
    return points, torch.full((len(points),), (side[1] - side[0]).item() ** 2)


def mixture_log_density(value, logits, loc, scale):
    each = stats.norm(loc, scale).logpdf(value[..., None, :]).sum(-1)
    return special.logsumexp(special.log_softmax(logits) + each, axis=-1)


CASES = [
    Case(
        "DiagNormalMixture",
        dgm.DiagNormalMixture,
        {
            "logits": torch.tensor([[0.0, 1.0, -0.5], [0.3, 0.0, 0.2]], dtype=torch.float64),
            "loc": torch.tensor(
                [[[-2.0, 0.0], [1.0, 1.5], [3.0, -3.0]], [[0.0, 0.0], [0.5, 0.0], [0.0, 1.5]]], dtype=torch.float64
            ),
            "scale": torch.tensor(
                [[[0.5, 1.0], [1.2, 0.4], [0.7, 0.7]], [[1.0, 0.5], [0.3, 1.0], [1.0, 1.0]]], dtype=torch.float64
            ),
        },
        mixture_log_density,
        torch.tensor([[0.0, 0.0], [1.5, -2.0], [8.0, 8.0], [-100.0, 3.0]], dtype=torch.float64),
        plane_grid,
        [[math.nan, 0.0]],
        event_dim=1,
    ),
]
