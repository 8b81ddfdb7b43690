"""The refined proposal against the guide's draws on trained models, taking turns: error, diagnostics and time.

python benchmarks/refined_likelihood.py --cases vae vamp mixture hvae frey --folder models
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import harness
import torch
import tyro
from torch import Tensor, nn

from pyrodgm.datasets import Dataset, load
from pyrodgm.infer import FitSettings, LogLikelihood, bidirectional, fit, load_weights, log_likelihood, save_weights
from pyrodgm.likelihoods import BernoulliLikelihood, DiscretizedLogisticLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import ExemplarPrior, MixtureOfGaussians, StandardNormal, VampPrior
from pyrodgm.zoo.pairs import dense_dlgmm, dense_hvae

Case = Literal["vae", "vamp", "mixture", "exemplar", "hvae", "hvae_vamp", "dlgmm", "frey"]


@dataclass(frozen=True)
class Config:
    """Compare estimates of log p(x) with a long reference."""

    cases: tuple[Case, ...] = ("vae", "vamp", "mixture", "hvae", "frey")
    """vae, vamp, mixture, exemplar: 784-300-300-40 gated VAE of static MNIST under a standard normal, a VampPrior, a
    mixture of Gaussians (each of 300 components) and exemplars; hvae, hvae_vamp: 40 + 40 latents; dlgmm: a deep latent
    Gaussian mixture; frey: a VAE of Frey faces with a discretised logistic likelihood."""
    epochs: int = 20
    """Epochs of training, where the folder has no weights yet."""
    components: int = 300
    """Components of mixtures and VampPriors."""
    images: int = 40
    """Test images."""
    num_samples: int = 5000
    """Decoder evaluations an image for both proposals."""
    quick: int = 600
    """Decoder evaluations of the refined proposal's quick mode."""
    reference: int = 100_000
    """Decoder evaluations of the reference: the refined proposal, another seed."""
    simulated: int = 40
    """Data simulated from each model for the certificate."""
    rounds: int = 3
    """Timed calls of each way."""
    folder: Path = Path("refined_likelihood_models")
    """Where the trained weights are, or go."""
    train_only: bool = False
    """Stop after training."""
    json: str | None = None
    """File for the numbers."""


def build(case: Case, data: Dataset, components: int) -> nn.Module:
    """The untrained pair."""
    pixels, mean = data.train.images.shape[-1], data.train.images.mean(0)
    if case == "frey":
        posterior = GaussianPosterior(mlp(pixels, [300, 300], 80))
        return VAE(StandardNormal(40), DiscretizedLogisticLikelihood(mlp(40, [300, 300], 2 * pixels), mean), posterior)
    if case == "dlgmm":
        return dense_dlgmm(pixels, num_components=3, latent=25, mean=mean)
    if case.startswith("hvae"):

        def upper(posterior: nn.Module) -> nn.Module:
            if case == "hvae":
                return StandardNormal(40)
            return VampPrior.from_data(posterior, components, data.train.images)

        return dense_hvae(upper)
    posterior = GaussianPosterior(mlp(pixels, [300, 300], 80))
    prior: nn.Module = StandardNormal(40)
    if case == "vamp":
        prior = VampPrior.from_data(posterior, components, data.train.images)
    elif case == "mixture":
        prior = MixtureOfGaussians(40, components)
    elif case == "exemplar":
        prior = ExemplarPrior(posterior, data.train.images)
    return VAE(prior, BernoulliLikelihood(mlp(40, [300, 300], pixels)), posterior)


def trained(case: Case, config: Config) -> tuple[nn.Module, Tensor]:
    """The pair, trained here or before, and its test images."""
    data = load("frey_faces" if case == "frey" else "static_mnist")
    torch.manual_seed(0)
    pair = build(case, data, config.components)
    path = config.folder / f"{case}_{config.epochs}.safetensors"
    if path.exists():
        load_weights(pair, path)
    else:
        config.folder.mkdir(parents=True, exist_ok=True)
        epochs = config.epochs * (10 if case == "frey" else 1)  # 1,565 faces only
        settings = FitSettings(compile="compiled", progress=False)
        fit(pair, data, epochs=epochs, kl_warmup=epochs / 4, settings=settings)
        save_weights(pair.state_dict(), path)
    chosen = torch.randperm(len(data.test.images), generator=torch.Generator().manual_seed(1))[: config.images]
    return pair, data.test.images[chosen]


def proposals(config: Config) -> dict[str, Callable[..., LogLikelihood]]:
    """The ways that take turns."""

    def way(num_samples: int, proposal: Literal["guide", "refined"], pair: nn.Module, x: Tensor) -> LogLikelihood:
        return log_likelihood(pair, x, num_samples, proposal=proposal, seed=0, progress=False)

    return {
        "guide": partial(way, config.num_samples, "guide"),
        "refined": partial(way, config.num_samples, "refined"),
        "quick": partial(way, config.quick, "refined"),
    }


def main(config: Config) -> None:
    print(harness.describe_machine("cpu"))
    results = {}
    for case in config.cases:
        pair, x = trained(case, config)
        if config.train_only:
            continue
        ways = {name: partial(way, pair, x) for name, way in proposals(config).items()}
        found, seconds = {}, {}
        for name, way in ways.items():  # once each to trace, then in turns
            found[name] = way()
        for name, taken in harness.alternate(ways, config.rounds, "cpu").items():
            seconds[name] = statistics.median(taken)
        began = time.perf_counter()
        reference = log_likelihood(pair, x, config.reference, proposal="refined", seed=1, progress=False)
        took = time.perf_counter() - began
        certificate = bidirectional(pair, config.simulated, x[:1], seed=2)
        print(f"\n{case}: reference {reference} in {took:.0f} s\ncertificate: {certificate}")
        print("| proposal | evaluations | mean | bias | RMSE | k-hat > 0.7 | flagged | time, relative |")
        print("|---|---|---|---|---|---|---|---|")
        results[case] = {"reference": reference.mean, "gap": certificate.gap, "gap_error": certificate.standard_error}
        for name, result in found.items():
            error = result.values - reference.values
            row = {
                "evaluations": result.evaluations,
                "mean": result.mean,
                "bias": float(error.mean()),
                "rmse": float(error.square().mean().sqrt()),
                "k_hat_share": float((result.k_hat > 0.7).double().mean()),
                "untrusted_share": result.untrusted_share,
                "time": seconds[name] / seconds["guide"],
            }
            results[case][name] = row
            print(
                f"| {name} | {row['evaluations']:.0f} | {row['mean']:.2f} | {row['bias']:+.2f} | {row['rmse']:.2f} | "
                f"{100 * row['k_hat_share']:.0f} % | {100 * row['untrusted_share']:.0f} % | {row['time']:.2f} |",
                flush=True,
            )
    harness.write_json(config.json, results)


if __name__ == "__main__":
    main(tyro.cli(Config))
