"""Noise that averages quadratic functions exactly, in place of random draws."""

import math
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor


def sigma_points(names: list[str]) -> dict[str, Tensor]:
    """Standard normal noise ``[2 d]`` of d sites: points at ±√d on each axis, whose mean and covariance are exact."""
    count = len(names)
    points = math.sqrt(count) * torch.cat([torch.eye(count), -torch.eye(count)]).double()
    return {name: points[:, i] for i, name in enumerate(names)}


class FixedNoise(Messenger):
    """Gives normal sites inside the plate of particles the values that they have for given noise.

    Enter it outside of an estimator's run: it then meets distributions as all plates have expanded them.

    Args:
        noise: For each site the noise of each particle.
    """

    def __init__(self, noise: dict[str, Tensor]) -> None:
        super().__init__()
        self.noise = noise

    def _pyro_sample(self, msg: Any) -> None:
        frames = [f for f in msg["cond_indep_stack"] if f.name == "num_particles_vectorized"]
        if msg["done"] or msg["is_observed"] or msg["name"] not in self.noise or not frames:
            return
        noise = self.noise[msg["name"]].reshape(-1, *[1] * (-1 - frames[0].dim))
        msg["value"], msg["done"] = msg["fn"].loc + msg["fn"].scale * noise, True
