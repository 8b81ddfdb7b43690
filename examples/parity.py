"""Parity: the task that shows whether a network learns to compute for longer where that is needed.

Graves (2016), "Adaptive computation time for recurrent neural networks", arXiv 1603.08983, section 3.1. The whole
input comes at once, in a single time step: a vector some of whose elements are 1 or -1 and the others 0. The target is
whether the number of ones is odd. The more elements are set, the harder the task.

    python examples/parity.py --model stick-breaking
    python examples/parity.py --model lstm
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import Tensor, nn

from pyrodgm.infer import ELBO, TrainStep
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import SequenceModel
from pyrodgm.nn.recurrent import AdaptiveComputationTime, RecurrentNetwork, StickBreakingRNN
from pyrodgm.plots import adaptive_steps


@dataclass(frozen=True)
class Config:
    """Train a network on the parity task, and measure errors and inner steps by difficulty."""

    model: Literal["lstm", "gru", "act", "stick-breaking"] = "stick-breaking"
    """Plain networks, adaptive computation time (of an LSTM), or stick-breaking (of an LSTM)."""
    bits: int = 8
    """Elements of the input; from 1 to all of them are set."""
    hidden: int = 128
    """Units of the hidden state."""
    max_steps: int = 10
    """Most inner steps of the adaptive networks."""
    concentration: float = 2.0
    """Of the prior of the stick weights: how many further inner steps cost nothing."""
    time_penalty: float = 1e-3
    """Price in nats of an inner step of adaptive computation time."""
    batch_size: int = 128
    """Examples an update, drawn anew each time."""
    updates: int = 20_000
    """Optimiser steps."""
    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    clip_grad_norm: float = 1.0
    """Largest norm of the gradient."""
    warmup: int = 0
    """Updates over which the weight of the KL term, or of the price of the steps, rises from 0 to 1."""
    tolerance: float = 0.01
    """In evaluation inner steps stop where less than this is left of their weights."""
    num_examples: int = 2000
    """Test examples of each difficulty."""
    device: str = "cpu"
    """Where to train, as PyTorch calls it: cpu, cuda, cuda:1."""
    seed: int = 0
    """Seed of everything random."""
    run: str | None = None
    """Folder for the results; by default runs/parity-MODEL-BITS-SEED."""
    figures: bool = True
    """Write a figure of errors and inner steps by difficulty into it."""


def draw(count: int, bits: int, number: int | None = None, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Inputs `[count, 1, bits]` and parities `[count, 1, 1]`, with so many elements set, by default any number."""
    if number is None:
        wanted = torch.randint(1, bits + 1, (count, 1), device=device)
    else:
        wanted = torch.full((count, 1), number, device=device)
    order = torch.rand(count, bits, device=device).argsort(-1)
    signs = torch.randint(0, 2, (count, bits), device=device) * 2 - 1
    x = torch.where(order < wanted, signs, 0).unsqueeze(1)
    odd = (x == 1).sum(-1, keepdim=True) % 2
    return x.to(torch.get_default_dtype()), odd.to(torch.get_default_dtype())


def build(config: Config) -> SequenceModel:
    """The untrained pair."""
    network: RecurrentNetwork
    if config.model == "act":
        network = AdaptiveComputationTime(config.bits, config.hidden, max_steps=config.max_steps)
    elif config.model == "stick-breaking":
        network = StickBreakingRNN(config.bits, config.hidden, max_steps=config.max_steps)
    else:
        network = RecurrentNetwork(config.bits, config.hidden, config.model)
    likelihood = BernoulliLikelihood(nn.Linear(config.hidden, 1))
    pair = SequenceModel(
        network,
        nn.Identity(),
        likelihood,
        concentration=config.concentration,
        time_penalty=config.time_penalty,
    )
    return pair.to(config.device)


def train(config: Config, pair: SequenceModel) -> list[dict[str, float]]:
    """Train; returns the loss now and then."""
    pair.train()
    optimizer = torch.optim.Adam(pair.parameters(), lr=config.learning_rate)
    objective = ELBO()
    step = TrainStep(pair, objective, optimizer, config.clip_grad_norm, compile="traced")
    rows, losses, began = [], [], time.perf_counter()
    for update in range(1, config.updates + 1):
        objective.kl_weight.fill_(min(1.0, update / config.warmup) if config.warmup else 1.0)
        losses.append(step(*draw(config.batch_size, config.bits, device=config.device)))
        if update % max(1, config.updates // 20) == 0:
            loss = float(torch.stack(losses).mean())
            rows.append({"update": update, "loss": loss, "seconds": time.perf_counter() - began})
            print(f"update {update}: loss {loss:.4f} nats, {rows[-1]['seconds']:.0f} s", flush=True)
            losses = []
    return rows


def measure(config: Config, pair: SequenceModel) -> list[dict[str, float]]:
    """Errors and inner steps for each number of elements that are set."""
    rows = []
    for number in range(1, config.bits + 1):
        x, y = draw(config.num_examples, config.bits, number, config.device)
        exact = pair.predict(x, y)
        early = pair.predict(x, y, tolerance=config.tolerance, mean=True)
        rows.append(
            {
                "difficulty": number,
                "error": float((exact.log_prob < torch.tensor(0.5).log()).double().mean()),
                "bits": float(-exact.log_prob.mean() / torch.tensor(2.0).log()),
                "mean_step": float(exact.mean_step.mean()),
                "error_early": float((early.log_prob < torch.tensor(0.5).log()).double().mean()),
                "num_steps_early": float(early.num_steps.mean()),
            }
        )
    return rows


def main(config: Config) -> None:
    """Train, measure, print a table."""
    torch.manual_seed(config.seed)
    pair = build(config)
    training = train(config, pair)
    rows = measure(config, pair)
    folder = Path(config.run or f"runs/parity-{config.model}-{config.bits}-{config.seed}")
    folder.mkdir(parents=True, exist_ok=True)
    results = {"arguments": asdict(config), "training": training, "difficulties": rows}
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"{'elements set':>12}  {'error':>7}  {'mean step':>9}  {'error, stopped early':>20}  {'steps computed':>14}")
    for row in rows:
        error, early = 100 * row["error"], 100 * row["error_early"]
        steps = f"{row['mean_step']:>9.2f}  {early:>18.2f} %  {row['num_steps_early']:>14.2f}"
        print(f"{row['difficulty']:>12}  {error:>5.2f} %  {steps}")
    print(f"mean error {100 * sum(row['error'] for row in rows) / len(rows):.2f} %; in {folder}: results.json")
    if config.figures:
        adaptive_steps(rows, title=f"Parity of {config.bits}: {config.model}").savefig(folder / "steps.png")


if __name__ == "__main__":
    main(tyro.cli(Config))
