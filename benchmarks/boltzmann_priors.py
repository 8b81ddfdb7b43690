"""Static MNIST: DVAE# under a bipartite prior and under a Zephyr graph, by chains and by annealing; the RBM by AIS.

python benchmarks/boltzmann_priors.py --rows rbm bipartite zephyr annealing --seeds 0 1
"""

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Literal

import dwave.graphs
import harness
import torch
import tyro
from dwave.samplers import SimulatedAnnealingSampler

from pyrodgm.boltzmann import Dimod, Gibbs, Graph
from pyrodgm.datasets import Dataset, evenly_spaced, load
from pyrodgm.distributions import PowerSmoothing, RelaxedBoltzmann
from pyrodgm.infer import ELBO, IWELBO, FitSettings, LogLikelihood, fit, log_likelihood
from pyrodgm.models import DVAE, RBM
from pyrodgm.priors import BoltzmannPrior
from pyrodgm.zoo.pairs import Structure, discrete_vae

Row = Literal["rbm", "bipartite", "zephyr", "annealing"]


@dataclass(frozen=True)
class Config:
    """Train and evaluate; a line a row and seed."""

    rows: tuple[Row, ...] = ("rbm", "bipartite", "zephyr", "annealing")
    """rbm: 784 + 200 units, chains; the others DVAE# power with two hidden layers of 200 and 48 latents: bipartite
    (24 + 24), zephyr (the Zephyr graph of 48 units), both by chains; annealing: that graph by dwave-samplers."""
    epochs: int = 4
    """Passes through the 50,000 training images, in batches of 100."""
    seeds: tuple[int, ...] = (0, 1)
    """Runs of each."""
    beta: float = 30.0
    """Inverse temperature of the smoothing."""
    num_chains: int = 100
    """Chains, or reads of the annealer, a step."""
    num_sweeps: int = 5
    """Gibbs sweeps a step."""
    annealing_sweeps: int = 100
    """Sweeps of the annealer a step, from inverse temperature 0.01 to 1."""
    images: int = 500
    """Test images, evenly spread."""
    num_samples: int = 500
    """Importance samples of the bits an image."""


def train(row: Row, config: Config, data: Dataset, seed: int) -> RBM | DVAE:
    """The trained pair, in evaluation mode."""
    torch.manual_seed(seed)
    options = {"num_chains": config.num_chains, "num_sweeps": config.num_sweeps}
    make_adam = partial(torch.optim.Adam, lr=1e-3)
    if row == "rbm":
        pair, objective = RBM(784, 200, mean=data.mean, **options), ELBO()
    else:
        pair = discrete_vae("dvaes_power", Structure(1, 48, (200, 200)), data.mean, config.beta, **options)
        objective = IWELBO(1)
        if row != "bipartite":
            graph = Graph.from_networkx(dwave.graphs.zephyr_graph(1))
            relaxation = partial(RelaxedBoltzmann, smoothing=PowerSmoothing(config.beta), num_iterations=5)
            anneal = {"beta_range": (0.01, 1.0), "num_sweeps": config.annealing_sweeps}
            sampler = Dimod(SimulatedAnnealingSampler(), anneal) if row == "annealing" else Gibbs(config.num_sweeps)
            pair.prior = BoltzmannPrior(graph, relaxation=relaxation, sampler=sampler, num_chains=config.num_chains)
    settings = FitSettings(progress=False, compile="eager" if row == "annealing" else "traced")
    kwargs = {"epochs": config.epochs, "objective": objective, "optimizer": make_adam, "seed": seed}
    fit(pair, data.train.images, **kwargs, kl_warmup=0.0 if row == "rbm" else 0.3 * config.epochs, settings=settings)
    return pair.eval()


def gain(found: LogLikelihood, first: LogLikelihood | None) -> str:
    """Over the first, image by image, with the errors of both log Z."""
    if first is None:
        return ""
    difference = found.values - first.values
    error = math.hypot(float(difference.std()) / len(difference) ** 0.5, found.shared_error, first.shared_error)
    return f"{float(difference.mean()):.2f} ± {error:.2f}"


def main(config: Config) -> None:
    print(harness.describe_machine("cpu"))
    data = load("static_mnist")
    test = data.test.images[evenly_spaced(len(data.test.images), config.images)]
    print("\n| prior | seed | log p(x) | gain over bipartite | log Z | its error | minutes |")
    print("|---|---|---|---|---|---|---|")
    for seed in config.seeds:
        bipartite = None
        for row in config.rows:
            start = time.perf_counter()
            pair = train(row, config, data, seed)
            minutes = (time.perf_counter() - start) / 60.0
            view, draws = (pair, 1) if row == "rbm" else (pair.discrete(), config.num_samples)
            found = log_likelihood(view, test, draws, progress=False)
            print(
                f"| {row} | {seed} | {found.mean:.2f} ± {found.standard_error:.2f} | {gain(found, bipartite)} "
                f"| {pair.prior.log_partition:.2f} | {pair.prior.log_partition_error:.3f} | {minutes:.1f} |",
                flush=True,
            )
            bipartite = found if row == "bipartite" else bipartite


if __name__ == "__main__":
    main(tyro.cli(Config))
