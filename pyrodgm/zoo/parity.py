"""Parity: the task that shows whether a network learns to compute for longer where that is needed.

Graves (2016), "Adaptive computation time for recurrent neural networks", arXiv 1603.08983, section 3.1. The whole
input comes at once, in a single time step: a vector some of whose elements are 1 or -1 and the others 0. The target is
whether the number of ones is odd. The more elements are set, the harder the task.

A right answer is worth log 2 = 0.69 nats, and under a prior whose mass is on the first step each further one costs
nats: the evidence bound itself pays for few or none. The divergence therefore has a small weight. While the task is
being learned, steps cost nothing.
"""

import json
import statistics
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pyrodgm import experiment
from pyrodgm.infer import ELBO, TrainStep
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import SequenceModel
from pyrodgm.nn.recurrent import AdaptiveComputationTime, RecurrentNetwork, StickBreakingRNN
from pyrodgm.plots import adaptive_steps
from pyrodgm.processes import world


@dataclass(frozen=True)
class Config:
    """Train a network on the parity task, and measure errors and inner steps by difficulty."""

    RENAMED: ClassVar[dict[str, str]] = {"repeats": "num_seeds"}

    model: Literal["lstm", "gru", "act", "stick-breaking"] = "stick-breaking"
    """Plain networks, adaptive computation time (of an LSTM), or stick-breaking (of an LSTM)."""
    bits: int = 8
    """Elements of the input; from 1 to all of them are set."""
    hidden: int = 16
    """Units of the hidden state."""
    max_steps: int = 6
    """Most inner steps of the adaptive networks."""
    concentration: float = 0.01
    """Of the prior of the stick weights: how many further inner steps cost nothing."""
    time_penalty: float = 0.01
    """Price in nats of an inner step of adaptive computation time."""
    batch_size: int = 128
    """Examples an update, drawn anew each time."""
    kl_weight: float = 0.03
    """Weight of the KL term once it is warm."""
    updates: int = 15_000
    """Optimiser steps."""
    learning_rate: float = 3e-3
    """Learning rate of Adam."""
    clip_grad_norm: float = 1.0
    """Largest norm of the gradient."""
    free: int = 6000
    """Updates before the warm-up, in which steps cost nothing."""
    warmup: int = 2500
    """Updates over which the weight of the KL term, or the price of the steps, rises from 0 to what it is."""
    curriculum: int = 5000
    """Updates over which the largest number of elements that are set rises from 1 to all."""
    tolerance: float = 0.01
    """In evaluation inner steps stop where less than this is left of their weights."""
    num_examples: int = 2000
    """Test examples of each difficulty."""
    device: str = "cpu"
    """Where to train, as PyTorch calls it: cpu, cuda, cuda:1."""
    seed: int = 0
    """Seed of everything random."""
    num_seeds: int = 1
    """Number of networks to train, with this seed and the next ones."""
    run: str | None = None
    """Folder for the results; by default runs/parity-MODEL-BITS-SEED."""
    figures: bool = True
    """Write a figure of errors and inner steps by difficulty into it."""


def draw(count: int, bits: int, fewest: int, most: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Inputs `[count, 1, bits]` and parities `[count, 1, 1]`, with from `fewest` to `most` elements set."""
    wanted = torch.randint(fewest, most + 1, (count, 1), device=device)
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


def price(config: Config, update: int) -> float:
    """Share of its final price, from 0 to 1, that a step costs at an update, counted from 1."""
    return min(1.0, max(0.0, (update - config.free) / max(1, config.warmup)))


def most(config: Config, update: int) -> int:
    """Largest number of elements that are set at an update, counted from 1."""
    return min(config.bits, 1 + update * config.bits // config.curriculum) if config.curriculum else config.bits


def train(config: Config, pair: SequenceModel) -> Generator[str, None, list[dict[str, float]]]:
    """Train and yield the loss twenty times; returns these losses."""
    pair.train()
    optimizer = torch.optim.Adam(pair.parameters(), lr=config.learning_rate)
    objective = ELBO()
    step = TrainStep(pair, objective, optimizer, config.clip_grad_norm, compile="traced")
    rows, losses, began = [], [], time.perf_counter()
    for update in range(1, config.updates + 1):
        warm = price(config, update)
        objective.kl_weight.fill_(warm * config.kl_weight)
        pair.time_penalty.fill_(warm * config.time_penalty)
        losses.append(step(*draw(config.batch_size, config.bits, 1, most(config, update), config.device)))
        if update % max(1, config.updates // 20) == 0:
            loss = float(torch.stack(losses).mean())
            rows.append({"update": update, "loss": loss, "seconds": time.perf_counter() - began})
            yield f"update {update}: loss {loss:.4f} nats, {rows[-1]['seconds']:.0f} s"
            losses = []
    return rows


def measure(config: Config, pair: SequenceModel) -> list[dict[str, float]]:
    """Errors and inner steps for each number of elements that are set."""
    rows = []
    for number in range(1, config.bits + 1):
        x, y = draw(config.num_examples, config.bits, number, number, config.device)
        exact = pair.predict(x, y)
        early = pair.predict(x, y, tolerance=config.tolerance, mean=True)
        rows.append(
            {
                "difficulty": number,
                "error": float((exact.log_prob < torch.tensor(0.5).log()).double().mean()),
                "bits": float(-exact.log_prob.mean() / torch.tensor(2.0).log()),
                "divergence": float(exact.divergence.mean()),
                "mean_step": float(exact.mean_step.mean()),
                "error_early": float((early.log_prob < torch.tensor(0.5).log()).double().mean()),
                "num_steps_early": float(early.num_steps.mean()),
            }
        )
    return rows


def main(config: Config) -> Iterator[str]:
    """Train, measure, yield a table."""
    for flag, value in (("num-examples", config.num_examples), ("num-seeds", config.num_seeds)):
        if value < 1:
            raise SystemExit(f"--{flag} must be at least 1, got {value}")
    if world().size > 1:
        raise SystemExit(f"parity trains in one process, got {world().size}")
    runs: list[dict[str, Any]] = []
    for seed in range(config.seed, config.seed + config.num_seeds):
        torch.manual_seed(seed)
        pair = build(config)
        training = yield from train(config, pair)
        runs.append({"seed": seed, "training": training, "difficulties": measure(config, pair)})
    rows = [average(same) for same in zip(*(run["difficulties"] for run in runs), strict=True)]
    overall = average([average(run["difficulties"]) for run in runs])
    folder = Path(config.run or f"runs/parity-{config.model}-{config.bits}-{config.seed}")
    folder.mkdir(parents=True, exist_ok=True)
    config_text = json.dumps({"config": experiment.describe(SYSTEM.name, config)}, indent=2)
    (folder / "config.json").write_text(config_text + "\n")
    results = {"arguments": asdict(config), "difficulties": rows, "overall": overall, "runs": runs}
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    for run in runs:
        steps = " ".join(f"{row['num_steps_early']:.2f}" for row in run["difficulties"])
        yield f"seed {run['seed']}: steps computed by difficulty {steps}"
    yield f"Mean ± standard deviation over seeds {[run['seed'] for run in runs]}"
    titles = ("error, %", "early, %", "KL, nats", "mean step", "steps computed")
    yield f"{'elements set':>12}" + "".join(f"{title:>16}" for title in titles)
    for name, row in [*((f"{row['difficulty']:.0f}", row) for row in rows), ("all", overall)]:
        yield f"{name:>12}" + "".join(f"{cell:>16}" for cell in cells(row))
    yield f"in {folder}: results.json"
    if config.figures:
        adaptive_steps(rows, title=f"Parity of {config.bits}: {config.model}").savefig(folder / "steps.png")


def average(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each entry, and with _sd after its name its standard deviation where there are several rows."""
    mean = {key: statistics.fmean(row[key] for row in rows) for key in rows[0] if not key.endswith("_sd")}
    if len(rows) == 1:
        return mean
    return mean | {f"{key}_sd": statistics.stdev(row[key] for row in rows) for key in mean}


def cells(row: dict[str, float]) -> list[str]:
    """Errors in per cent, divergence and steps, as text."""
    scales = {"error": 100, "error_early": 100, "divergence": 1, "mean_step": 1, "num_steps_early": 1}
    return [
        f"{scale * row[key]:.2f}" + (f" ± {scale * row[f'{key}_sd']:.2f}" if f"{key}_sd" in row else "")
        for key, scale in scales.items()
    ]


def evaluate(path: Path, flags: experiment.Evaluation) -> str:
    """Refuse: a run keeps no weights."""
    raise ValueError(f"{path} is a run of parity, which keeps no weights: train it again")


SYSTEM = experiment.PlainSystem("parity", Config, main, evaluate)
