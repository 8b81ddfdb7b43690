"""Importance-sampled log-likelihoods of pyrodgm against the image-by-image loop of published code, taking turns.

python benchmarks/likelihood.py
"""

import statistics
from dataclasses import dataclass
from typing import Literal

import by_hand
import harness
import torch
import tyro
from torch import nn

from pyrodgm.infer import log_likelihood
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal, VampPrior

Case = Literal["vae", "vamp"]
LIMITS = {"vae": 0.25, "vamp": 0.05}


@dataclass(frozen=True)
class Config:
    """Time log-likelihoods; ratios below one mean that pyrodgm is the faster.

    The loop takes the same time for each image, so it runs on a few and its time is scaled to all. The decoder's matrix
    products alone, which every way computes, show how low a ratio can be.
    """

    cases: tuple[Case, ...] = ("vae", "vamp")
    """vae: 784-300-300-40 gated VAE; vamp: the same under a VampPrior."""
    images: int = 200
    """Images to evaluate."""
    loop_images: int = 2
    """Images that the loop is timed on."""
    num_samples: int = 5000
    """Importance samples an image."""
    pseudo_inputs: int = 500
    """Pseudo-inputs of the VampPrior."""
    rounds: int = 3
    """Timed calls of each way."""
    device: str = "cpu"
    """Where to run."""
    json: str | None = None
    """File for the numbers."""


def main(config: Config) -> None:
    torch.manual_seed(0)
    print(harness.describe_machine(config.device))
    x = torch.rand(config.images, 784, device=config.device).round()
    results = {}
    for case in config.cases:
        posterior = GaussianPosterior(mlp(784, [300, 300], 80))
        inputs = torch.rand(config.pseudo_inputs, 784)
        prior: nn.Module = VampPrior(posterior, inputs) if case == "vamp" else StandardNormal(40)
        pair = VAE(prior, BernoulliLikelihood(mlp(40, [300, 300], 784)), posterior).to(config.device)
        net = by_hand.GatedVAE(config.pseudo_inputs if case == "vamp" else 0).to(config.device)

        def ours(mode: Literal["traced", "compiled"], pair: VAE = pair) -> object:
            return log_likelihood(pair, x, config.num_samples, compile=mode, progress=False)

        todo = {
            "image by image": lambda net=net: net.image_by_image(x[: config.loop_images], config.num_samples),
            "decoder's products": lambda net=net: net.decoder_products(config.num_samples),
            "pyrodgm traced": lambda ours=ours: ours("traced"),
            "pyrodgm compiled": lambda ours=ours: ours("compiled"),
        }
        first = {name: harness.first_call(way, config.device) for name, way in todo.items()}
        times = harness.alternate(todo, config.rounds, config.device)
        times["image by image"] = [t * config.images / config.loop_images for t in times["image by image"]]
        times["decoder's products"] = [t * config.images for t in times["decoder's products"]]
        results[case] = harness.report(case, times, first, "pyrodgm compiled", {"image by image": LIMITS[case]})
        floors = zip(times["decoder's products"], times["image by image"], strict=True)
        share = statistics.median(products / loop for products, loop in floors)
        print(f"the decoder's matrix products alone take {share:.2f} of the time of the loop")
    harness.write_json(config.json, results)


if __name__ == "__main__":
    main(tyro.cli(Config))
