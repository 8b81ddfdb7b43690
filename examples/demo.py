"""What a better prior is worth: two VAEs on scikit-learn's handwritten digits that differ in nothing but the prior.

    python examples/demo.py

Trains a VAE with a standard-normal prior and one with a VampPrior, prints the test log-likelihoods of both and leaves
weights, metrics and figures in a run folder.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
import vampprior

from pyrodgm import experiment


@dataclass(frozen=True)
class Config:
    """Train two VAEs that differ in the prior and compare them on test data."""

    run: str = "runs/demo"
    """Run folder; if there is one, the first of RUN-2, RUN-3, ... that there is not."""
    epochs: int = 300
    """Passes over the training images."""
    num_samples: int = 2000
    """Importance samples a test image."""
    seed: int = 0
    """Seed of everything random."""


def main(config: Config) -> None:
    """Train and evaluate both, print one table."""
    # Networks this small gain nothing from a second thread, and lose much where the cores have other work too.
    torch.set_num_threads(1)
    names = itertools.chain([config.run], (f"{config.run}-{i}" for i in itertools.count(2)))
    folder = next(path for path in map(Path, names) if not path.exists())
    results, values = {}, {}
    for prior in ("standard", "vampprior"):
        print(f"training with the prior: {prior}")
        # Sizes and schedule were chosen by the log-likelihood of the validation images.
        trial = vampprior.Config(
            prior=prior,
            components=100,
            data="digits",
            latent=16,
            hidden=(128, 128),
            batch_size=200,
            epochs=config.epochs,
            warmup=config.epochs / 4,
            patience=None,
            optimizer="adam",
            learning_rate=2e-3,
            num_samples=config.num_samples,
            seed=config.seed,
            run=str(folder / prior),
        )
        results[prior], likelihood = vampprior.train(trial)
        values[prior] = likelihood.values
    print(experiment.table(results))
    gain = values["vampprior"] - values["standard"]
    error = gain.std() / len(gain) ** 0.5
    print(f"image by image the VampPrior gains {gain.mean():.2f} ± {error:.2f} nats (mean ± standard error)")
    print(f"figures, metrics and weights are in {folder / 'standard'} and {folder / 'vampprior'}")


if __name__ == "__main__":
    main(tyro.cli(Config))
