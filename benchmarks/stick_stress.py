"""Stick-breaking VAEs over the range of their settings: how many values are not finite, how many divergences negative.

python benchmarks/stick_stress.py

Each run takes 500 steps of Adam on MNIST, in float32, under the bound with the exact divergence or under an
importance-weighted one. At every step are looked at: draws and their densities under posterior and prior, the
divergence of each image (which must not be negative), the loss and all gradients; and how far the bound, as a mean over
50 steps, falls below its best.
"""

from dataclasses import dataclass, field
from itertools import product

import pyro
import torch
import tyro
from torch import Tensor, nn
from torch.distributions import kl_divergence

from pyrodgm import datasets
from pyrodgm.infer import ELBO, IWELBO
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import Dense, Scale, StickWeights, mlp
from pyrodgm.posteriors import StickBreakingPosterior
from pyrodgm.posteriors.stick_breaking import Fractions
from pyrodgm.priors import GEMPrior

WINDOW = 50  # steps that a bound is averaged over: single batches differ by more than it may fall


@dataclass(frozen=True)
class Config:
    """Train at all combinations and print a table."""

    fractions: tuple[Fractions, ...] = ("kumaraswamy", "logit_normal", "gamma", "beta")
    """Families of the posterior's fractions."""
    truncations: tuple[int, ...] = (5, 50, 200)
    """Numbers of sticks."""
    concentrations: tuple[float, ...] = (0.5, 1.0, 5.0, 20.0)
    """Concentrations of the prior."""
    particles: tuple[int, ...] = (1, 10)
    """Samples of the bound; with one its divergence is exact."""
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
    fall: float = 0.0
    last: list[float] = field(default_factory=list)

    def see(self, values: list[Tensor], kl: Tensor) -> None:
        """Count one step."""
        self.nonfinite += sum(int((~value.isfinite()).sum()) for value in [*values, kl])
        self.negative += int((kl < 0).sum())
        self.smallest = min(self.smallest, kl.min().item())

    def finish(self, bounds: list[float]) -> None:
        """Take the bounds of all steps of one run."""
        means = torch.tensor([sum(part) / len(part) for part in _windows(bounds)])
        self.fall = max(self.fall, (means.cummax(0).values - means).max().item())
        self.last.append(means[-1].item())

    def __str__(self) -> str:
        last = sum(self.last) / len(self.last)
        return f"{self.nonfinite} / {self.negative} ({self.smallest:.2g}; {last:.0f}; {self.fall:.1f})"


def _windows(bounds: list[float]) -> list[list[float]]:
    return [bounds[start : start + WINDOW] for start in range(0, len(bounds), WINDOW)]


def make_pair(config: Config, fractions: Fractions, truncation: int, concentration: float, pixels: int) -> VAE:
    """The untrained pair."""
    encoder = mlp(pixels, [config.hidden], 2 * (truncation - 1), layer=Dense)
    posterior = StickBreakingPosterior(encoder, fractions, concentration)
    scale = Scale((truncation * (1 + concentration)) ** 0.5)
    decoder = nn.Sequential(StickWeights(), scale, *mlp(truncation, [config.hidden], pixels, layer=Dense))
    return VAE(GEMPrior(truncation, concentration), BernoulliLikelihood(decoder), posterior)


def stress(
    config: Config, images: Tensor, fractions: Fractions, truncation: int, concentration: float, particles: int
) -> Findings:
    """All seeds of one combination."""
    found = Findings()
    elbo = ELBO(max_plate_nesting=1) if particles == 1 else IWELBO(particles, max_plate_nesting=1)
    for seed in range(config.seeds):
        torch.manual_seed(seed)
        pair = make_pair(config, fractions, truncation, concentration, images.shape[1])
        parameters = list(pair.parameters())
        adam = torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)
        bounds = []
        for _ in range(config.steps):
            x = torch.bernoulli(images[torch.randint(len(images), (config.batch_size,))])
            loss = elbo.differentiable_loss(pair.model, pair.guide, x)
            adam.zero_grad()
            loss.backward()
            with torch.no_grad():
                q, p = pair.posterior(x), pair.prior()
                z = q.rsample((particles,))
                values = [z, q.log_prob(z), p.log_prob(z), loss, *(w.grad for w in parameters)]
                found.see(values, kl_divergence(q, p))
            adam.step()
            bounds.append(-loss.item() / config.batch_size)
        found.finish(bounds)
    return found


def main(config: Config) -> None:
    pyro.enable_validation(False)
    images = datasets.load(config.data).train.images
    print(f"{config.seeds} runs of {config.steps} steps a cell: values not finite / KL < 0")
    print("(smallest KL; last bound; largest fall of the bound)\n")
    names = (f"concentration {concentration:g}" for concentration in config.concentrations)
    print(f"| samples | fractions | K | {' | '.join(names)} |")
    print("|---|---|---|" + "---|" * len(config.concentrations))
    total = Findings()
    for particles, fractions, truncation in product(config.particles, config.fractions, config.truncations):
        cells = [stress(config, images, fractions, truncation, c, particles) for c in config.concentrations]
        total.nonfinite += sum(cell.nonfinite for cell in cells)
        total.negative += sum(cell.negative for cell in cells)
        total.fall = max(total.fall, *(cell.fall for cell in cells))
        print(f"| {particles} | {fractions} | {truncation} | {' | '.join(map(str, cells))} |", flush=True)
    print(f"\nin all {total.nonfinite} values that are not finite and {total.negative} negative divergences;")
    print(f"the largest fall of a bound: {total.fall:.2f} nats")


if __name__ == "__main__":
    main(tyro.cli(Config))
