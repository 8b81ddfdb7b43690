"""Runs a pair's programs on several points per datum in a batch, and at given values."""

from collections.abc import Callable
from typing import Any

import pyro
from pyro.poutine.messenger import Messenger
from torch import Tensor

PARTICLES = -2  # dimension of the points, left of the data plate


def particles(program: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The program in a plate of ``count`` points left of the data plate."""
    return pyro.plate("num_particles_vectorized", count, dim=PARTICLES)(program)


class Placed(Messenger):
    """Messenger that sets latent sites, by name, to values computed by functions of their priors."""

    def __init__(self, values: dict[str, Callable[[Any], Tensor]]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.values:
            msg["value"], msg["done"] = self.values[msg["name"]](msg["fn"]), True
