"""Training steps of pyrodgm against plain Pyro and against PyTorch written by hand, taking turns in one process.

python benchmarks/train_step.py --cases vae vamp iw50
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import by_hand
import harness
import pyro
import pyro.distributions as dist
import torch
import tyro
from pyro.infer import SVI, RenyiELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from pyrodgm.infer import ELBO, IWELBO, TrainStep
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import Dense, StickWeights, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import GEMPrior, StandardNormal, VampPrior

Case = Literal["vae", "vamp", "sticks", "iw5", "iw50"]
LIMITS = {"vae": {"pyro SVI": 0.45, "PyTorch eager": 0.85}, "vamp": {"pyro SVI": 0.25}, "iw50": {"pyro SVI": 0.6}}


@dataclass(frozen=True)
class Config:
    """Time training steps; ratios below one mean that pyrodgm is the faster."""

    cases: tuple[Case, ...] = ("vae", "vamp", "sticks", "iw5", "iw50")
    """vae: 784-300-300-40 gated VAE; vamp: the same under a VampPrior; sticks: 784-500-50
    ReLU VAE of Kumaraswamy sticks, against the published code's clipped uniforms and ten terms of a series; iw5, iw50:
    importance-weighted bounds of the first."""
    batch_size: int = 100
    """Images a step."""
    pseudo_inputs: int = 500
    """Pseudo-inputs of the VampPrior."""
    rounds: int = 60
    """Timed calls of each way."""
    device: str = "cpu"
    """Where to run."""
    json: str | None = None
    """File for the numbers."""


class BroadcastVampPrior(nn.Module):
    """The VampPrior as one writes it with Pyro's own mixture."""

    def __init__(self, posterior: nn.Module, pseudo_inputs: Tensor) -> None:
        super().__init__()
        self.shared, self.pseudo_inputs = (posterior,), nn.Parameter(pseudo_inputs)

    def forward(self) -> dist.TorchDistribution:
        components = self.shared[0](self.pseudo_inputs.clamp(0.0, 1.0))
        weights = torch.zeros(len(self.pseudo_inputs), device=self.pseudo_inputs.device)
        return dist.MixtureSameFamily(dist.Categorical(logits=weights), components)


class PlainBernoulli(nn.Module):
    """The likelihood as one writes it with Pyro's own Bernoulli."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return dist.Bernoulli(logits=self.net(z)).to_event(1)


def make_pair(config: Config, case: Case, plain: bool) -> VAE:
    if case == "sticks":
        sticks = StickBreakingPosterior(mlp(784, [500], 2 * 49, layer=Dense), "kumaraswamy", 5.0)
        decoder = nn.Sequential(StickWeights(), *mlp(50, [500], 784, layer=Dense))
        return VAE(GEMPrior(50, 5.0), BernoulliLikelihood(decoder), sticks).to(config.device)
    posterior = GaussianPosterior(mlp(784, [300, 300], 80))
    prior: nn.Module = StandardNormal(40)
    if case == "vamp":
        inputs = torch.rand(config.pseudo_inputs, 784)
        prior = BroadcastVampPrior(posterior, inputs) if plain else VampPrior(posterior, inputs)
    decoder = mlp(40, [300, 300], 784)
    return VAE(prior, PlainBernoulli(decoder) if plain else BernoulliLikelihood(decoder), posterior).to(config.device)


def ways(config: Config, case: Case, x: Tensor) -> dict[str, Callable[[], object]]:
    particles = int(case[2:]) if case.startswith("iw") else 0
    pair = make_pair(config, case, plain=True)
    renyi = RenyiELBO(alpha=0.0, num_particles=max(particles, 2), vectorize_particles=True, max_plate_nesting=1)
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-3}), renyi if particles else TraceMeanField_ELBO())

    def by_hand_step(compiled: bool) -> Callable[[Tensor], Tensor]:
        net: by_hand.GatedVAE | by_hand.StickVAE
        net = (
            by_hand.StickVAE() if case == "sticks" else by_hand.GatedVAE(config.pseudo_inputs if case == "vamp" else 0)
        )
        net.to(config.device)

        def loss(x: Tensor) -> Tensor:
            return net.iw_loss(x, particles) if particles else net.elbo_loss(x)

        return by_hand.training_step(net, torch.compile(loss) if compiled else loss)

    def ours(mode: Literal["traced", "compiled"]) -> TrainStep:
        pair = make_pair(config, case, plain=False)
        options = {"fused": True, "capturable": config.device.startswith("cuda")}
        optimizer = torch.optim.Adam(pair.parameters(), lr=1e-3, **options)
        return TrainStep(pair, IWELBO(particles) if particles else ELBO(), optimizer, compile=mode)

    eager, compiled = by_hand_step(False), by_hand_step(True)
    traced_ours, compiled_ours = ours("traced"), ours("compiled")
    return {
        "pyro SVI": lambda: svi.step(x),
        "PyTorch eager": lambda: eager(x),
        "PyTorch compiled": lambda: compiled(x),
        "pyrodgm traced": lambda: traced_ours(x),
        "pyrodgm compiled": lambda: compiled_ours(x),
    }


def main(config: Config) -> None:
    torch.manual_seed(0)
    pyro.clear_param_store()
    print(harness.describe_machine(config.device))
    x = torch.rand(config.batch_size, 784, device=config.device).round()
    results = {}
    for case in config.cases:
        todo = ways(config, case, x)
        first = {name: harness.first_call(way, config.device) for name, way in todo.items()}
        for way in todo.values():
            way()
        times = harness.alternate(todo, config.rounds, config.device)
        results[case] = harness.report(case, times, first, "pyrodgm compiled", LIMITS.get(case, {}))
    harness.write_json(config.json, results)


if __name__ == "__main__":
    main(tyro.cli(Config))
