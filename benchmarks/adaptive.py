"""A training step of the stick-breaking LSTM against torch.nn.LSTM with as many cell updates, taking turns.

python benchmarks/adaptive.py --threads 1
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import harness
import torch
import tyro
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from pyrodgm.infer import ELBO, TrainStep
from pyrodgm.models import SequenceModel
from pyrodgm.nn.recurrent import AdaptiveComputationTime, StickBreakingRNN

LIMITS = {"nn.LSTM": 1.5}
PRODUCTS = ("addmm", "mm", "bmm", "mkldnn_linear")


@dataclass(frozen=True)
class Config:
    """Time training steps; ratios below one mean that pyrodgm is the faster."""

    hidden: int = 512
    """Units of the hidden state."""
    batch_size: int = 32
    """Sequences a step."""
    length: int = 100
    """Time steps."""
    max_steps: int = 4
    """Inner steps; torch's LSTM reads a sequence that is as many times longer."""
    threads: int = 1
    """Threads of PyTorch."""
    rounds: int = 10
    """Timed calls of each way."""
    device: str = "cpu"
    """Where to run."""
    json: str | None = None
    """File for the numbers."""


class Plain(nn.Module):
    """What one writes with torch.nn.LSTM: a language model whose last of each `max_steps` outputs is read."""

    def __init__(self, config: Config, symbols: int) -> None:
        super().__init__()
        self.every = config.max_steps
        self.encoder, self.lstm = nn.Embedding(symbols, 64), nn.LSTM(64, config.hidden, batch_first=True)
        self.readout = nn.Linear(config.hidden, symbols)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.encoder(x.repeat_interleave(self.every, 1)))
        logits = self.readout(hidden[:, self.every - 1 :: self.every])
        return nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / len(x)


def ways(config: Config, x: Tensor, y: Tensor, symbols: int) -> dict[str, Callable[[], object]]:
    """The training steps, by name."""
    plain = Plain(config, symbols).to(config.device)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3, fused=True)

    def by_hand() -> Tensor:
        optimizer.zero_grad()
        loss = plain(x, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def ours(kind: type, mode: Literal["traced", "compiled"]) -> Callable[[], object]:
        network = kind(64, config.hidden, max_steps=config.max_steps)
        pair = SequenceModel.of_symbols(network, symbols).to(config.device)
        step = TrainStep(pair, ELBO(), torch.optim.Adam(pair.parameters(), lr=1e-3, fused=True), compile=mode)
        return lambda: step(x, y)

    return {
        "nn.LSTM": by_hand,
        "stick-breaking, compiled": ours(StickBreakingRNN, "compiled"),
        "stick-breaking, traced": ours(StickBreakingRNN, "traced"),
        "adaptive computation time, traced": ours(AdaptiveComputationTime, "traced"),
    }


def shares(way: Callable[[], object]) -> dict[str, float]:
    """Share of the time that goes into matrix products and into the most expensive other operations."""
    with profile(activities=[ProfilerActivity.CPU]) as measured:
        way()
    events = {event.key: event.self_cpu_time_total for event in measured.key_averages()}
    total = sum(events.values())
    products = {name for name in events if name.removeprefix("aten::").rstrip("_") in PRODUCTS}
    others = sorted(events.keys() - products, key=lambda name: -events[name])[:6]
    return {"matrix products": sum(events[n] for n in products) / total} | {n: events[n] / total for n in others}


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    print(harness.describe_machine(config.device))
    symbols = 50
    x, y = torch.randint(0, symbols, (2, config.batch_size, config.length), device=config.device)
    todo = ways(config, x, y, symbols)
    first = {name: harness.first_call(way, config.device) for name, way in todo.items()}
    times = harness.alternate(todo, config.rounds, config.device)
    title = f"{config.hidden} units, {config.batch_size} x {config.length} x {config.max_steps} cell updates"
    results = {title: harness.report(title, times, first, "stick-breaking, compiled", LIMITS)}
    found = shares(todo["stick-breaking, traced"])
    print("\nof the traced step: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.items()))
    harness.write_json(config.json, {**results, "shares": found})


if __name__ == "__main__":
    main(tyro.cli(Config))
