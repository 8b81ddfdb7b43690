"""Eight models trained at once against eight one after another: a step of each, in turns.

python benchmarks/many_models.py --threads 1
"""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from harness import alternate, report

from pyrodgm import datasets
from pyrodgm.infer import FitSettings
from pyrodgm.infer.training.many.fit_many import begin_member
from pyrodgm.infer.training.many.stack import Stack
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal, VampPrior

COUNT = 8
SIZES = {  # pixels, hidden layers, latents, batch, pseudo-inputs
    "small": (64, [32], 8, 100, 100),
    "demo": (64, [128, 128], 16, 200, 100),
    "mnist": (784, [300, 300], 40, 100, 500),
}


def make(prior: str, size: str) -> Callable[[int], VAE]:
    pixels, hidden, latent, _, pseudo_inputs = SIZES[size]

    def make_pair(run: int) -> VAE:
        posterior = GaussianPosterior(mlp(pixels, hidden, 2 * latent))
        components = VampPrior.around_mean(posterior, pseudo_inputs, torch.full((pixels,), 0.5))
        chosen = components if prior == "vampprior" else StandardNormal(latent)
        return VAE(chosen, BernoulliLikelihood(mlp(latent, hidden[::-1], pixels)), posterior)

    return make_pair


def compare(prior: str, size: str, rounds: int) -> None:
    data: Any = datasets.load("digits")
    if size == "mnist":
        data = torch.rand(2000, 784, generator=torch.Generator().manual_seed(1)).round()
    options = {"epochs": 10**6, "batch_size": SIZES[size][3], "settings": FitSettings(compile="traced", progress=False)}
    with ExitStack() as stack:
        together, alone = (
            [begin_member(make(prior, size), n, data, options, stack, f"runs[{n}]") for n in range(COUNT)]
            for _ in range(2)
        )
        models = Stack(together)

        def many() -> None:
            inputs = []
            for member in together:
                member.training.schedule_step(0)
                inputs.append(member.next_rows())
            models.losses(inputs)
            for member in together:
                member.training.step.descend()

        def one_after_another() -> None:
            for member in alone:
                member.training.one_step(0)

        ways = {"together": many, "one after another": one_after_another}
        first = {name: times[0] for name, times in alternate(ways, 1, "cpu").items()}
        alternate(ways, 20, "cpu")
        report(f"{prior}, {size}", alternate(ways, rounds, "cpu"), first, "together", {})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["demo", "mnist"])
    parser.add_argument("--priors", nargs="+", choices=["standard", "vampprior"], default=["standard", "vampprior"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    for size in args.sizes:
        for prior in args.priors:
            compare(prior, size, args.rounds)
