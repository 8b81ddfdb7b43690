"""Draws of stick logits over the whole range of their parameters: how many of them, or of their densities, not finite.

python benchmarks/stick_draws.py

The count over draws, log-densities and derivatives of both with respect to the parameters; in float32 and float64.
"""

from dataclasses import dataclass

import torch
import tyro

from pyrodgm.distributions import BetaLogit, GammaRatioLogit, KumaraswamyLogit, NormalLogit

SHAPES = (1e-15, 1e-10, 1e-5, 1e-2, 0.3, 1.0, 30.0, 1e3, 1e6)
SCALES = (1e-6, 1e-3, 1.0, 30.0)
LOCATIONS = (-1e3, -30.0, 0.0, 30.0, 1e3)


@dataclass(frozen=True)
class Config:
    """Draw and count."""

    draws: int = 100_000_000
    """Number of draws over all families and both formats."""
    chunk: int = 1_000_000
    """Draws at a time."""
    seed: int = 0
    """Seed of the draws."""


def count(config: Config) -> dict[str, tuple[int, int]]:
    """Draws and values that are not finite, by family and format."""
    torch.manual_seed(config.seed)
    families = (KumaraswamyLogit, BetaLogit, GammaRatioLogit, NormalLogit)
    found = {}
    for family in families:
        ranges = (LOCATIONS, SCALES) if family is NormalLogit else (SHAPES, SHAPES)
        for dtype in (torch.float32, torch.float64):
            grid = torch.cartesian_prod(*(torch.tensor(values, dtype=dtype) for values in ranges))
            drawn = bad = 0
            while drawn < config.draws // (2 * len(families)):
                first, second = (p.clone().requires_grad_() for p in grid.unbind(-1))
                d = family(first, second, validate_args=False)
                logits = d.rsample((max(1, config.chunk // len(grid)),))
                values = [logits, d.log_prob(logits)]
                for value in tuple(values):
                    values += torch.autograd.grad(value.sum(), (first, second), retain_graph=True)
                drawn += logits.numel()
                bad += sum(int((~value.isfinite()).sum()) for value in values)
            found[f"{family.__name__}, {str(dtype)[6:]}"] = drawn, bad
    return found


def main(config: Config) -> None:
    for name, (drawn, bad) in count(config).items():
        print(f"{name}: {drawn:,} draws, {bad} values not finite")


if __name__ == "__main__":
    main(tyro.cli(Config))
