"""The refined proposal against the guide's draws on trained models, taking turns: error, diagnostics and time.

python benchmarks/refined_likelihood.py --cases vae vamp mixture hvae frey --folder models
"""

import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import harness
import torch
import tyro
from torch import Tensor, nn

from pyrodgm.datasets import Dataset, load
from pyrodgm.infer import FitSettings, bidirectional, fit, load_weights, log_likelihood, save_weights
from pyrodgm.likelihoods import BernoulliLikelihood, DiscretizedLogisticLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import Dense, Scale, StickWeights, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import ExemplarPrior, GEMPrior, MixtureOfGaussians, StandardNormal, VampPrior
from pyrodgm.zoo import ladder_vae
from pyrodgm.zoo.pairs import dense_dlgmm, dense_hvae

OfMNIST = Literal["vae", "vamp", "mixture", "exemplar", "hvae", "hvae_vamp", "hvae_mixture", "hvae_exemplar"]
Case = OfMNIST | Literal["ladder", "dlgmm", "sticks", "frey"]


@dataclass(frozen=True)
class Config:
    """Compare estimates of log p(x) with a long reference."""

    cases: tuple[Case, ...] = ("vae", "vamp", "mixture", "hvae", "frey")
    """vae, vamp, mixture, exemplar: 784-300-300-40 gated VAE of static MNIST under a standard normal, a VampPrior, a
    mixture of Gaussians (each of 300 components) and exemplars; hvae and hvae_*: 40 + 40 latents under the same;
    ladder: a ladder VAE of five layers, of 32 to 2 latents, with batch normalisation; dlgmm: a deep latent Gaussian
    mixture; sticks: 784-500-50 ReLU layers, 50 sticks under Beta(1, 5); frey: a VAE of Frey faces with a discretised
    logistic likelihood."""
    epochs: int = 20
    """Epochs of training, where the folder has no weights yet."""
    components: int = 300
    """Components of mixtures and VampPriors."""
    images: int = 40
    """Test images."""
    data: str | None = None
    """Data set whose test images are taken, such as omniglot_28x28; None: that of the training images."""
    num_samples: int = 5000
    """Draws of the guide an image; the refined proposal takes its default."""
    quick: tuple[int, ...] = (1000,)
    """Decoder evaluations of the refined proposal with few: one row each."""
    reference: int = 100_000
    """Decoder evaluations of the reference: the refined proposal, another seed."""
    simulated: int = 40
    """Data simulated from each model for the certificate."""
    temperatures: int = 1600
    """Of the certificate's bound from above."""
    seed: int = 0
    """Of the estimates; the reference has another."""
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
    if case == "sticks":
        decoder = nn.Sequential(StickWeights(), Scale((50 * 6) ** 0.5), *mlp(50, [500], pixels, layer=Dense))
        encoder = StickBreakingPosterior(mlp(pixels, [500], 98, layer=Dense), "kumaraswamy", 5.0)
        return VAE(GEMPrior(50, 5.0), BernoulliLikelihood(decoder), encoder)
    if case == "ladder":
        return ladder_vae.build(ladder_vae.Config(latent=(32, 16, 8, 4, 2), hidden=(256, 128, 64, 32, 16)), data)
    if case == "dlgmm":
        return dense_dlgmm(pixels, num_components=3, latent=25, mean=mean)

    def prior(posterior: nn.Module) -> nn.Module:
        if case.endswith("vamp"):
            return VampPrior.from_data(posterior, components, data.train.images)
        if case.endswith("mixture"):
            return MixtureOfGaussians(40, components)
        return ExemplarPrior(posterior, data.train.images) if case.endswith("exemplar") else StandardNormal(40)

    if case.startswith("hvae"):
        return dense_hvae(prior)
    posterior = GaussianPosterior(mlp(pixels, [300, 300], 80))
    return VAE(prior(posterior), BernoulliLikelihood(mlp(40, [300, 300], pixels)), posterior)


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
    images = (data if config.data is None else load(config.data)).test.images
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))[: config.images]
    return pair, images[chosen]


class Way:
    """One way to estimate, which keeps what it found last."""

    def __init__(
        self, pair: nn.Module, x: Tensor, num_samples: int | None, proposal: Literal["guide", "refined"], seed: int
    ) -> None:
        self.run = partial(log_likelihood, pair, x, num_samples, proposal=proposal, seed=seed, progress=False)

    def __call__(self) -> None:
        self.found = self.run()


def main(config: Config) -> None:
    print(harness.describe_machine("cpu"))
    results: dict[str, Any] = {}
    for case in config.cases:
        pair, x = trained(case, config)
        if config.train_only:
            continue
        ways = {
            "guide": Way(pair, x, config.num_samples, "guide", config.seed),
            "refined": Way(pair, x, None, "refined", config.seed),
        } | {f"quick {count}": Way(pair, x, count, "refined", config.seed) for count in config.quick}
        times = harness.alternate(ways, config.rounds, "cpu")  # tracing, which each call does, is part of them
        began = time.perf_counter()
        reference = log_likelihood(pair, x, config.reference, proposal="refined", seed=config.seed + 1, progress=False)
        took = time.perf_counter() - began
        certificate = bidirectional(pair, config.simulated, x[:1], temperatures=config.temperatures, seed=2)
        print(f"\n{case}: reference {reference} in {took:.0f} s\ncertificate: {certificate}")
        print("| proposal | evaluations | mean | bias | RMSE | k-hat > 0.7 | flagged | later | ESS | time, relative |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        results[case] = {"reference": reference.mean, "gap": certificate.gap, "gap_error": certificate.standard_error}
        for name, way in ways.items():
            result = way.found
            error = result.values - reference.values
            ratios = [taken / before for taken, before in zip(times[name], times["guide"], strict=True)]
            row = {
                "evaluations": result.evaluations,
                "mean": result.mean,
                "bias": float(error.mean()),
                "rmse": float(error.square().mean().sqrt()),
                "k_hat_share": float((result.k_hat > 0.7).double().mean()),
                "untrusted_share": result.untrusted_share,
                "later_share": result.fallback_share,
                "ess": float(result.ess.median()),
                "time": statistics.median(ratios),
                "seconds": times[name],
                "values": result.values.tolist(),
            }
            results[case][name] = row
            print(
                f"| {name} | {row['evaluations']:.0f} | {row['mean']:.2f} | {row['bias']:+.2f} | {row['rmse']:.2f} | "
                f"{100 * row['k_hat_share']:.0f} % | {100 * row['untrusted_share']:.0f} % | "
                f"{100 * row['later_share']:.0f} % | {row['ess']:.0f} | "
                f"{row['time']:.2f} ({min(ratios):.2f} - {max(ratios):.2f}) |",
                flush=True,
            )
        harness.write_json(config.json, results)


if __name__ == "__main__":
    main(tyro.cli(Config))
