"""Training on a stream: MNIST read from disk against MNIST in memory, and the peak memory of 20 GB of generated data.

python benchmarks/streaming.py
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import harness
import numpy as np
import torch
import tyro
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from pyrodgm import datasets
from pyrodgm.infer import FitSettings, fit
from pyrodgm.likelihoods import GaussianLikelihood, GreyBernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal

Case = Literal["mnist", "large"]
FEATURES, LARGE_BATCH = 10_000, 250  # of the generated data: 10 MB a batch
MOST_SECONDS, MOST_BYTES = 1.15, 2e9  # what the library sets itself


@dataclass(frozen=True)
class Config:
    """Time epochs of streamed MNIST against epochs in memory, and measure the memory of a long stream."""

    cases: tuple[Case, ...] = ("large", "mnist")
    """mnist: 784-300-300-40 gated VAE on grey MNIST; large: Gaussian VAE on generated data of 10,000 features."""
    workers: int = 2
    """Processes that read."""
    batch_size: int = 100
    """MNIST images a step."""
    rounds: int = 4
    """Epochs of MNIST that are timed each way, taking turns."""
    images: int | None = None
    """Only so many images of MNIST."""
    gigabytes: float = 20.0
    """Size of the generated data."""
    json: str | None = None
    """File for the numbers."""


class OnDisk(Dataset[Tensor]):
    """Images in a file of bytes, of which each batch is read when it is asked for."""

    def __init__(self, file: Path) -> None:
        self.images = np.load(file, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, rows: list[int]) -> Tensor:
        return torch.from_numpy(self.images[rows]).float() / 255


class Generated(IterableDataset[Tensor]):
    """Correlated Normals, made as they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Tensor]:
        info = torch.utils.data.get_worker_info()
        number, of = (0, 1) if info is None else (info.id, info.num_workers)
        for _ in range(number, self.count, of):
            yield torch.randn(()) + torch.randn(FEATURES)


class Peak(threading.Thread):
    """The most memory that this process and its children held at one time, shared pages counted once (Linux)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes, self.done = 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.1):
            self.bytes = max(self.bytes, sum(map(held, tree(os.getpid()))))


def tree(process: int) -> list[int]:
    """A process and all below it."""
    parents = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
    found = [process]
    for above in found:  # which grows
        found += [below for below, parent in parents.items() if parent == above]
    return found


def held(process: int) -> int:
    """Bytes of memory of a process, those that it shares with n others counted as a share of n + 1."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return 0


def as_given(batch: Tensor) -> Tensor:
    return batch


def mnist(config: Config) -> dict[str, Any]:
    images = datasets.load("grey_mnist").train.images[: config.images]
    times: dict[str, list[float]] = {"in memory": [], "streamed": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npy"
        np.save(file, (255 * images).round().to(torch.uint8).numpy())
        loader = DataLoader(
            OnDisk(file),
            config.batch_size,
            shuffle=True,
            num_workers=config.workers,
            collate_fn=as_given,
            persistent_workers=config.workers > 0,
        )
        for _ in range(config.rounds):
            for name, data in (("in memory", images), ("streamed", loader)):
                torch.manual_seed(0)
                likelihood = GreyBernoulliLikelihood(mlp(40, [300, 300], 784))
                vae = VAE(StandardNormal(40), likelihood, GaussianPosterior(mlp(784, [300, 300], 80)))
                settings = FitSettings(progress=False, compile="traced")
                result = fit(vae, data, epochs=2, batch_size=config.batch_size, settings=settings)
                times[name].append(result.seconds[-1])  # the first has tracing and the start of the workers in it
    ratio = median(a / b for a, b in zip(times["streamed"], times["in memory"], strict=True))
    print(f"\nMNIST, {len(images)} images, seconds an epoch\n")
    for name, seconds in times.items():
        print(f"{name}: median {median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})")
    print(f"streamed / in memory: {ratio:.3f} (at most {MOST_SECONDS})")
    return {"seconds": times, "ratio": ratio}


def large(config: Config) -> dict[str, Any]:
    batches = round(config.gigabytes * 1e9 / (4 * FEATURES * LARGE_BATCH))
    loader = DataLoader(Generated(batches * LARGE_BATCH), LARGE_BATCH, num_workers=config.workers)
    torch.manual_seed(0)
    likelihood = GaussianLikelihood(mlp(2, [16], FEATURES), 1.0)
    vae = VAE(StandardNormal(2), likelihood, GaussianPosterior(mlp(FEATURES, [16], 4)))
    peak = Peak()
    peak.start()
    result = fit(vae, loader, settings=FitSettings(max_steps=batches, progress=False))
    peak.done.set()
    peak.join()
    print(f"\n{config.gigabytes:g} GB of generated data in {batches} steps, {sum(result.seconds):.0f} seconds\n")
    print(f"peak of the memory of all processes: {peak.bytes / 1e9:.2f} GB (at most {MOST_BYTES / 1e9:.2f})")
    print(f"bound {result.best_bound:.1f} nats per datum")
    return {"bytes": peak.bytes, "steps": batches, "bound": result.best_bound}


def main(config: Config) -> None:
    print(harness.describe_machine("cpu"))
    found = {case: {"mnist": mnist, "large": large}[case](config) for case in config.cases}
    harness.write_json(config.json, found)


if __name__ == "__main__":
    main(tyro.cli(Config))
