"""Importance sampling, variational inference and adversarial training of one decoder, each for as long.

python benchmarks/three_methods.py --out three_methods
"""

import json
import math
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from torch import Tensor, nn

from pyrodgm import datasets, plots
from pyrodgm.infer import (
    ELBO,
    IWELBO,
    Callback,
    FitSettings,
    GANLoss,
    Moment,
    Wasserstein,
    annealed_log_likelihood,
    fit,
    knn_two_sample,
    precision_recall,
    sample_means,
)
from pyrodgm.likelihoods import GaussianLikelihood, ImplicitLikelihood
from pyrodgm.models import GAN, VAE, DensityNetwork
from pyrodgm.nn import Dense, Discriminator, mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal

Method = Literal["importance sampling", "variational inference", "adversarial"]
METHODS: tuple[Method, ...] = ("importance sampling", "variational inference", "adversarial")
SCALES = (0.1, 0.13, 0.16, 0.2, 0.25, 0.32)
MEASURES = ("log_likelihood", "precision", "recall", "accuracy", "memory", "steps", "scale")
PIXELS, DRAWS, IMAGES = 784, 1000, "images.pt"


@dataclass(frozen=True)
class Config:
    """Train one decoder by each method on grey MNIST, in processes of their own, and print a table."""

    out: Path
    """Folder of results, which are kept and not made again, and of the picture."""
    seconds: float = 300.0
    """Processor time of each training."""
    seeds: int = 2
    """Trainings by each method."""
    images: int = 50
    """Test images whose likelihood is estimated."""
    latent: int = 10
    """Latent dimensions."""
    hidden: tuple[int, ...] = (256, 256)
    """Sizes of the ReLU layers of the decoder, and in reverse of encoder and discriminator."""
    particles: int = 50
    """Draws of the prior per image, for importance sampling."""
    only: tuple[str, int] | None = None
    """Method and seed of the one training that this process does."""


class UntilSpent(Callback):
    """Stops when the processor time is spent."""

    def __init__(self, seconds: float) -> None:
        self.end = time.process_time() + seconds

    def on_step(self, moment: Moment) -> bool | None:
        return time.process_time() > self.end


class Memory:
    """The most that the process grows while it is entered, in MB, looked at every 20 ms."""

    def __enter__(self) -> "Memory":
        self.before, self.grown, self.over = self._held(), 0.0, threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.over.wait(0.02):
            self.grown = max(self.grown, self._held() - self.before)

    def _held(self) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def decoder(config: Config) -> nn.Module:
    """Latents to grey values in [0, 1]."""
    return nn.Sequential(*mlp(config.latent, config.hidden, PIXELS, layer=Dense), nn.Sigmoid())


def trained(method: Method, config: Config, x: Tensor) -> tuple[nn.Module, float]:
    """The decoder after training, and its steps."""
    net, prior, around = decoder(config), StandardNormal(config.latent), config.hidden[::-1]
    adam = partial(torch.optim.Adam, lr=1e-3, fused=True)
    options: dict[str, Any] = {"optimizer": adam, "batch_size": 100}
    pair: nn.Module
    if method == "adversarial":
        pair = GAN(prior, ImplicitLikelihood(net), Discriminator.dense(PIXELS, around))
        options |= {"objective": GANLoss(Wasserstein()), "optimizer": partial(adam, lr=2e-4, betas=(0.0, 0.9))}
    elif method == "variational inference":
        encoder = GaussianPosterior(mlp(PIXELS, around, 2 * config.latent, layer=Dense), (-10.0, 2.0))
        pair = VAE(prior, GaussianLikelihood(net, 0.3, learn_scale=True), encoder)
        options |= {"objective": ELBO()}
    else:
        pair = DensityNetwork(prior, GaussianLikelihood(net, 0.3, learn_scale=True))
        options |= {"objective": IWELBO(config.particles), "batch_size": 20}
    settings = FitSettings(
        critic_steps=5 if method == "adversarial" else 1,
        steps_per_epoch=100,
        max_steps=10**7,
        compile="traced",
        callbacks=[UntilSpent(config.seconds)],
        progress=False,
    )
    result = fit(pair, x, settings=settings, **options)
    return net, result.metrics[-1]["step"]


def measure(method: Method, seed: int, config: Config) -> dict[str, Any]:
    """One training and what came of it."""
    torch.set_num_threads(1)
    x, valid, test = torch.load(config.out / IMAGES)
    torch.manual_seed(seed)
    with Memory() as memory:
        net, steps = trained(method, config, x)

    def likelihood(scale: float, images: Tensor, chains: int, temperatures: int) -> tuple[float, float]:
        pair = DensityNetwork(StandardNormal(config.latent), GaussianLikelihood(net, scale))
        found = annealed_log_likelihood(pair, images, chains=chains, temperatures=temperatures, seed=seed)
        return found.mean, found.standard_error

    scale = max(SCALES, key=lambda s: likelihood(s, valid[:20], 4, 20)[0])
    value, error = likelihood(scale, test[: config.images], 16, 100)
    torch.manual_seed(seed)
    made = sample_means(DensityNetwork(StandardNormal(config.latent), GaussianLikelihood(net, 1.0)), DRAWS)
    shown, two = precision_recall(test[:DRAWS], made), knn_two_sample(test[:DRAWS], made)
    torch.save(made[:10].clone(), config.out / f"{method}-{seed}.pt")
    return {
        "log_likelihood": value,
        "standard_error": error,
        "scale": scale,
        "precision": shown.precision,
        "recall": shown.recall,
        "accuracy": two.accuracy,
        "memory": memory.grown,
        "steps": steps,
    }


def main(config: Config) -> None:
    """Train in processes of their own, and print the table."""
    config.out.mkdir(parents=True, exist_ok=True)
    if config.only is not None:
        method, seed = config.only
        found = measure(next(m for m in METHODS if m == method), seed, config)
        (config.out / f"{method}-{seed}.json").write_text(json.dumps({**asdict(config), "out": "", **found}))
        return
    data = datasets.load("grey_mnist")
    shuffled = data.test.images[torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))]
    torch.save((data.train.images, data.valid.images, shuffled), config.out / IMAGES)
    for seed in range(config.seeds):
        for method in METHODS:
            if not (config.out / f"{method}-{seed}.json").exists():
                command = [sys.executable, *sys.argv, "--only", method, str(seed)]
                subprocess.run(command, check=True)
    report(config)


def report(config: Config) -> None:
    """The table, mean and standard deviation over the seeds, and the picture."""
    print("| method | " + " | ".join(MEASURES) + " |")
    print("|---" * (len(MEASURES) + 1) + "|")
    for method in METHODS:
        rows = [json.loads((config.out / f"{method}-{seed}.json").read_text()) for seed in range(config.seeds)]
        cells = []
        for name in MEASURES:
            values = [row[name] for row in rows]
            spread = statistics.stdev(values) if len(values) > 1 else math.nan
            cells.append(f"{statistics.fmean(values):.2f} ± {spread:.2f}")
        print(f"| {method} | " + " | ".join(cells) + " |")
        errors = ", ".join(f"{row['standard_error']:.1f}" for row in rows)
        print(f"  standard errors of the likelihood over the images: {errors}", file=sys.stderr)
    data, _, test = torch.load(config.out / IMAGES)
    two, shown = knn_two_sample(test[:DRAWS], data[:DRAWS]), precision_recall(test[:DRAWS], data[:DRAWS])
    print(f"| training images | | {shown.precision:.2f} | {shown.recall:.2f} | {two.accuracy:.2f} | | | |")
    rows = [torch.load(config.out / f"{method}-0.pt") for method in METHODS]
    figure = plots.image_grid(torch.cat([data[:10], *rows]), (1, 28, 28), columns=10, row_labels=("data", *METHODS))
    plots.save(figure, config.out / "three_methods.png", "light")


if __name__ == "__main__":
    main(tyro.cli(Config))
