"""Traced training steps with mixtures as prior, as posterior and as both, and of latent mixtures, taking turns.

python benchmarks/mixture_step.py
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import harness
import torch
import tyro

from pyrodgm.datasets import Dataset
from pyrodgm.infer import TrainStep
from pyrodgm.infer.tracing.contexts import matmul_precision
from pyrodgm.zoo import dirichlet_process_vae, gaussian_mixture_vae

STRATIFIED = "--posterior mixture --objective stratified"
CASES = {
    "standard normal": (gaussian_mixture_vae, "--prior standard"),
    "mixture prior, 10": (gaussian_mixture_vae, "--components 10"),
    "mixture prior, 100": (gaussian_mixture_vae, "--components 100"),
    "mixture prior, 1,000": (gaussian_mixture_vae, "--components 1000"),
    "mixture prior, 1,000, Shu's bound": (gaussian_mixture_vae, "--components 1000 --kl bound"),
    "mixture posterior": (gaussian_mixture_vae, f"--prior standard {STRATIFIED}"),
    "mixture posterior and prior, 1,000": (gaussian_mixture_vae, f"--components 1000 {STRATIFIED}"),
    "Gaussian VAE, 25 latents": (dirichlet_process_vae, "--model vae"),
    "DLGMM, 3 components": (dirichlet_process_vae, "--model dlgmm --components 3"),
    "DP-VAE, 17 components": (dirichlet_process_vae, "--model dpvae --components 17"),
}


@dataclass(frozen=True)
class Config:
    """Time training steps on batches of 100 images of 784 pixels."""

    rounds: int = 30
    """Timed steps of each way."""
    matmul: str = "medium"
    """Precision of matrix products, as --matmul of the examples."""
    device: str = "cpu"
    """Where to run."""
    json: str | None = None
    """File for the numbers."""


def make_step(config: Config, example: ModuleType, flags: str, x: torch.Tensor) -> Callable[[], object]:
    """One training step of what an example's flags name."""
    torch.manual_seed(0)
    arguments = tyro.cli(example.Config, args=flags.split())
    pair = example.build(arguments, Dataset.from_tensors(x.cpu())).to(config.device)
    capturable = config.device.startswith("cuda")
    adam = torch.optim.Adam(pair.parameters(), lr=3e-4, fused=True, capturable=capturable)
    return partial(TrainStep(pair, example.objective(arguments), adam, compile="traced"), x)


def main(config: Config) -> None:
    """Time all and print a table."""
    torch.manual_seed(0)
    x = (torch.rand(100, 784, device=config.device) < 0.13).float()
    with matmul_precision(config.matmul):
        ways = {name: make_step(config, example, flags, x) for name, (example, flags) in CASES.items()}
        first = {name: harness.first_call(way, config.device) for name, way in ways.items()}
        times = harness.alternate(ways, config.rounds, config.device)
    print(harness.describe_machine(config.device))
    rows = harness.report("Training steps", times, first, "standard normal", {})
    harness.write_json(config.json, rows)


if __name__ == "__main__":
    main(tyro.cli(Config))
