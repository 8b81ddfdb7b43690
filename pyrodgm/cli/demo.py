"""A demonstration: two VAEs on scikit-learn's handwritten digits that differ only in the prior."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch

from pyrodgm import experiment
from pyrodgm.cli.refusals import check_flags, in_one_line
from pyrodgm.cli.terminal import print_anywhere
from pyrodgm.processes import first, from_first, world
from pyrodgm.zoo import vampprior


@dataclass(frozen=True)
class Demo:
    """Train two VAEs that differ in the prior and compare them on test data."""

    run: str = "runs/demo"
    """Run folder; if there is one, the first of RUN-2, RUN-3, ... that does not exist."""
    epochs: int = 300
    """Passes over the training images."""
    num_samples: int = 2000
    """Importance samples per test image."""
    seed: int = 0
    """Seed of everything random."""


@in_one_line(Demo)
def demo(config: Demo) -> None:
    """Train and evaluate both, print one table."""
    print_anywhere()
    check_flags(config)
    # Networks this small gain nothing from a second thread, and lose much where the cores have other work too.
    torch.set_num_threads(1)
    say = print if world().rank == 0 else _say_nothing
    number = int(from_first(first(lambda: _free(config.run)) or 0))
    folder = _folder(config.run, number)
    results, values = {}, {}
    for prior in ("standard", "vampprior"):
        say(f"training with the prior: {prior}")
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
        results[prior], likelihood = experiment.train(vampprior.SYSTEM, trial, experiment.report).report
        values[prior] = likelihood.values
    say(experiment.table(results))
    gain = values["vampprior"] - values["standard"]
    error = gain.std() / len(gain) ** 0.5
    say(f"image by image the VampPrior gains {gain.mean():.2f} ± {error:.2f} nats (mean ± standard error)")
    say(f"figures, metrics and weights are in {folder / 'standard'} and {folder / 'vampprior'}")


def _folder(run: str, number: int) -> Path:
    return Path(run if number < 2 else f"{run}-{number}")


def _free(run: str) -> int:
    """The number of the first folder that does not exist."""
    return next(number for number in itertools.count(1) if not _folder(run, number).exists())


def _say_nothing(text: str) -> None:
    pass
