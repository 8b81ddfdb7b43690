"""Stick-breaking VAEs over the range of their settings: how many values are not finite, how many divergences negative.

python benchmarks/stick_stress.py

Each run takes 500 steps of Adam on MNIST, in float32. At every step are looked at: the draws and their densities under
posterior and prior, the divergence of each image (which must not be negative), the loss and all gradients.
"""

from collections import Counter
from dataclasses import dataclass

import pyro
import torch
import tyro
from torch import Tensor, nn
from torch.distributions import kl_divergence

from pyrodgm import datasets
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.nn import Dense, Scale, StickWeights, mlp
from pyrodgm.posteriors import StickBreakingPosterior
from pyrodgm.posteriors.stick_breaking import Fractions
from pyrodgm.priors import GEMPrior


@dataclass(frozen=True)
class Config:
    """Train at all combinations and print a table."""

    fractions: tuple[Fractions, ...] = ("kumaraswamy", "logit_normal", "gamma", "beta")
    """Families of the posterior's fractions."""
    truncations: tuple[int, ...] = (5, 50, 200)
    """Numbers of sticks."""
    concentrations: tuple[float, ...] = (0.5, 1.0, 5.0, 20.0)
    """Concentrations of the prior."""
    seeds: int = 3
    """Runs of each combination, of seeds 0, 1, ..."""
    steps: int = 500
    """Steps a run."""
    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    hidden: int = 200
    """Size of the one hidden layer of encoder and decoder."""
    batch_size: int = 100
    """Images a step."""
    data: str = "mnist"
    """Data set."""


@dataclass
class Findings:
    """What was seen in the runs of one combination."""

    nonfinite: int = 0
    negative: int = 0
    smallest: float = float("inf")
    bound: float = 0.0


def stress(config: Config, images: Tensor, fractions: Fractions, truncation: int, concentration: float) -> Findings:
    """All seeds of one combination."""
    found = Findings()
    for seed in range(config.seeds):
        torch.manual_seed(seed)
        pixels = images.shape[1]
        encoder = mlp(pixels, [config.hidden], 2 * (truncation - 1), layer=Dense)
        posterior = StickBreakingPosterior(encoder, fractions, concentration)
        scale = Scale((truncation * (1 + concentration)) ** 0.5)
        likelihood = BernoulliLikelihood(
            nn.Sequential(StickWeights(), scale, *mlp(truncation, [config.hidden], pixels, layer=Dense))
        )
        prior = GEMPrior(truncation, concentration)
        parameters = [*posterior.parameters(), *likelihood.parameters()]
        adam = torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)
        counts: Counter[str] = Counter()
        bound = torch.tensor(0.0)
        for _ in range(config.steps):
            x = torch.bernoulli(images[torch.randint(len(images), (config.batch_size,))])
            q, p = posterior(x), prior()
            z, kl = q.rsample(), kl_divergence(q, p)
            bound = (likelihood(z).log_prob(x) - kl).mean()
            adam.zero_grad()
            (-bound).backward()
            adam.step()
            looked_at = [z, q.log_prob(z), p.log_prob(z), kl, bound, *(w.grad for w in parameters)]
            counts["nonfinite"] += sum(int((~value.isfinite()).sum()) for value in looked_at)
            counts["negative"] += int((kl < 0).sum())
            found.smallest = min(found.smallest, kl.min().item())
        found.nonfinite += counts["nonfinite"]
        found.negative += counts["negative"]
        found.bound += bound.item() / config.seeds
    return found


def main(config: Config) -> None:
    pyro.enable_validation(False)
    images = datasets.load(config.data).train.images
    print(f"{config.seeds} runs of {config.steps} steps a cell: values not finite / KL < 0 (smallest KL; last bound)\n")
    print("| fractions | K | " + " | ".join(f"concentration {c:g}" for c in config.concentrations) + " |")
    print("|---|---|" + "---|" * len(config.concentrations))
    total = Findings()
    for fractions in config.fractions:
        for truncation in config.truncations:
            cells = []
            for concentration in config.concentrations:
                found = stress(config, images, fractions, truncation, concentration)
                total.nonfinite += found.nonfinite
                total.negative += found.negative
                cells.append(f"{found.nonfinite} / {found.negative} ({found.smallest:.2g}; {found.bound:.0f})")
            print(f"| {fractions} | {truncation} | {' | '.join(cells)} |", flush=True)
    print(f"\nin all {total.nonfinite} values that are not finite and {total.negative} negative divergences")


if __name__ == "__main__":
    main(tyro.cli(Config))
