"""Estimates of log p(x) of small programs whose evidence is known, under guides that are blind, wide or good.

python benchmarks/exact_evidence.py [--other CHECKOUT]
"""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch
import tyro
from pyro.nn import PyroModule, pyro_method
from torch import Tensor, nn

from pyrodgm.infer import log_likelihood

DATA = 12


@dataclass(frozen=True)
class Config:
    """Errors against exact evidence, and what diagnostics say of them."""

    seeds: int = 5
    """Seeds of the estimate."""
    other: Path | None = None
    """A checkout whose library estimates the same first."""


class Program(PyroModule):
    """Independent latents z with one observation each of a function of z, with normal noise."""

    def __init__(self, prior: Any, function: Callable[[Tensor], Tensor], noise: float, size: int, guide: Any) -> None:
        super().__init__()
        self.prior, self.function, self.noise, self.size, self.other = prior, function, noise, size, guide
        self.unused = nn.Parameter(torch.zeros((), dtype=torch.float64))

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", self.prior.expand([self.size]).to_event(1))
            pyro.sample("x", dist.Normal(self.function(z), self.noise).to_event(1), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", self.other.expand([self.size]).to_event(1))

    def simulate(self) -> Tensor:
        z = self.prior.expand([DATA, self.size]).sample()
        return dist.Normal(self.function(z), self.noise).sample()

    def evidence(self, x: Tensor) -> Tensor:
        """By the trapezoidal rule in z = sinh(t)."""
        t = torch.linspace(-25.0, 25.0, 400_001, dtype=torch.float64)
        z = t.sinh()
        inside = self.prior.support.check(z)
        log_prior = self.prior.log_prob(torch.where(inside, z, 1.0)).masked_fill(~inside, -math.inf)
        joint, given = log_prior + t.cosh().log() + math.log(t[1] - t[0]), dist.Normal(self.function(z), self.noise)
        return torch.stack([(joint + given.log_prob(v)).logsumexp(0) for v in x.flatten()]).reshape(x.shape).sum(-1)


def normal(mean: float, scale: float) -> Any:
    return dist.Normal(torch.tensor(mean, dtype=torch.float64), scale)


def programs() -> dict[str, Program]:
    """Programs by name."""
    wide, blind = normal(0.0, 1.0), normal(0.7, 0.3)
    one = torch.tensor(1.0, dtype=torch.float64)
    half, cauchy, exponential = dist.HalfNormal(one), dist.HalfCauchy(one), dist.Exponential(2.0 * one)
    heavy = dist.StudentT(1.5 * one, 0.0 * one, one)
    return {
        "square, blind guide": Program(wide, torch.square, 0.1, 1, blind),
        "square, wide guide": Program(wide, torch.square, 0.1, 1, wide),
        "two squares, blind guide": Program(wide, torch.square, 0.1, 2, blind),
        "modulus, wide guide": Program(wide, torch.abs, 0.2, 1, wide),
        "sine, blind guide": Program(wide, lambda z: (3.0 * z).sin(), 0.2, 1, blind),
        "Student's t of 1.5 degrees, weak data": Program(heavy, lambda z: z, 100.0, 8, heavy),
        "half-normal, data at 0": Program(half, lambda z: 0.1 * z, 0.1, 3, half),
        "exponential, data at 0": Program(exponential, lambda z: 0.2 * z, 0.1, 3, exponential),
        "half-Cauchy, data at 0": Program(cauchy, lambda z: 0.1 * z, 0.1, 3, cauchy),
    }


def main(config: Config) -> None:
    """Print a row a program."""
    if config.other is not None:
        print(f"{config.other.name}:", flush=True)
        command = [sys.executable, __file__, "--seeds", str(config.seeds)]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(config.other)}, check=True)
        print("this checkout:", flush=True)
    print("| program | bias | RMSE | flagged | not flagged, wrong by 0.1 | worst of these | RMSE, draws of the guide |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, program in programs().items():
        torch.manual_seed(0)
        x = program.simulate()
        truth = program.evidence(x)
        found = [log_likelihood(program, x, seed=seed, progress=False) for seed in range(config.seeds)]
        drawn = [
            log_likelihood(program, x, 5000, proposal="guide", seed=seed, progress=False)
            for seed in range(config.seeds)
        ]
        errors = torch.stack([each.values - truth for each in found])
        flagged = torch.stack([each.untrusted for each in found])
        guide = torch.stack([each.values - truth for each in drawn]).square().mean().sqrt()
        wrong = (errors.abs() > 0.1) & ~flagged
        worst = f"{errors[wrong].abs().max():.2f}" if wrong.any() else ""
        row = f"{errors.mean():.3f} | {errors.square().mean().sqrt():.3f} | {100 * flagged.double().mean():.0f} %"
        print(f"| {name} | {row} | {100 * wrong.double().mean():.0f} % | {worst} | {guide:.3f} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Config))
