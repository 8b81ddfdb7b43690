"""Characters predicted by networks that may think several steps about each.

An LSTM or GRU whose inner steps are weighed by stick-breaking weights (docs/adaptive_computation.md), Graves's adaptive
computation time (arXiv 1603.08983), the batch-normalised LSTM (arXiv 1603.09025) and the plain networks, on the Penn
Treebank or another text.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from pyrodgm import datasets, experiment
from pyrodgm.datasets import Text
from pyrodgm.infer import ELBO, Bits, Cosine, DamagedFileError, FitSettings, bits_per_symbol, fit_text
from pyrodgm.infer.training.checkpoint import write_atomically
from pyrodgm.models import SequenceModel
from pyrodgm.nn.recurrent import AdaptiveComputationTime, BatchNormLSTM, RecurrentNetwork, StickBreakingRNN

# Flags that may change when a run is resumed: its place, and the evaluation after it.
FREE = ("root", "device", "run", "resume", "test_symbols", "ensemble", "tolerance", "sample")


@dataclass(frozen=True)
class Config:
    """Train a network on a text and measure its bits per character."""

    RENAMED: ClassVar[dict[str, str]] = {"validate_every": "valid_every"}

    model: Literal[
        "lstm", "gru", "batch-norm-lstm", "act-lstm", "act-gru", "stick-breaking-lstm", "stick-breaking-gru"
    ] = "stick-breaking-lstm"
    """Which network."""
    data: str = "ptb"
    """Text, as pyrodgm.datasets.load_text calls it: ptb, text8, text8_prefix, war_and_peace, tiny_shakespeare."""
    root: str | None = None
    """Folder of the data; by default $PYRODGM_DATA, or else a cache folder."""
    hidden: int = 1000
    """Units of the hidden state."""
    embedding: int = 64
    """Features of a character."""
    max_steps: int = 4
    """Most inner steps of the adaptive networks."""
    concentration: float = 1.0
    """Of the prior of the stick weights: how many further inner steps cost nothing."""
    time_penalty: float = 0.01
    """Price in nats of an inner step of adaptive computation time."""
    batch_size: int = 64
    """Streams that are read side by side."""
    length: int = 100
    """Characters of a window, through which gradients flow."""
    updates: int = 40_000
    """Optimiser steps; on ptb, 784 of 64 windows of 100 characters read the text once."""
    learning_rate: float = 2e-3
    """Learning rate of Adam at the start."""
    decay: bool = True
    """Let the learning rate fall to a hundredth along a cosine."""
    clip_grad_norm: float = 1.0
    """Largest norm of the gradient, in nats a character."""
    kl_weight: float = 0.01
    """Weight of the KL term. With 1, that of the evidence bound, the stick weights stay noise (docs/results.md)."""
    warmup: int = 0
    """Updates over which the weight of the KL term rises from 0 to what it is."""
    valid_every: int = 1000
    """Updates between two validations, of which the best decides on the weights."""
    valid_symbols: int | None = None
    """Characters of the validation part that are used; None: all."""
    test_symbols: int | None = None
    """Characters of the test part that are used; None: all."""
    ensemble: int = 32
    """Draws of the stick weights whose predictions are averaged in the second measurement."""
    tolerance: float = 0.01
    """In the last measurement inner steps stop where less than this is left of their weights."""
    sample: int = 200
    """Characters to print from the model."""
    device: str = "cpu"
    """Where to train, as PyTorch calls it: cpu, cuda, cuda:1."""
    seed: int = 0
    """Seed of everything random."""
    run: str | None = None
    """Run folder; by default runs/DATA-MODEL-SEED."""
    resume: bool = False
    """Resume the run in that folder."""

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.run or f"runs/{self.data}-{self.model}-{self.seed}")


def build(config: Config, text: Text) -> SequenceModel:
    """The untrained pair."""
    sizes, cell = (config.embedding, config.hidden), "gru" if config.model.endswith("gru") else "lstm"
    network: RecurrentNetwork
    if config.model == "batch-norm-lstm":
        network = BatchNormLSTM(*sizes, max_positions=config.length)
    elif config.model.startswith("act"):
        network = AdaptiveComputationTime(*sizes, cell, max_steps=config.max_steps)
    elif config.model.startswith("stick-breaking"):
        start = max(1.0, config.concentration)
        network = StickBreakingRNN(*sizes, cell, max_steps=config.max_steps, start=start)
    else:
        network = RecurrentNetwork(*sizes, cell)
    pair = SequenceModel.of_symbols(
        network, len(text.symbols), concentration=config.concentration, time_penalty=config.time_penalty
    )
    return pair.to(config.device)


def measure(config: Config, pair: SequenceModel, text: Text) -> dict[str, Bits]:
    """Bits per character of the test part: of one draw, of an ensemble, and with as few inner steps as suffice."""
    test = text.test[: config.test_symbols]
    found = {"ens. 1": bits_per_symbol(pair, test, seed=config.seed)}
    if isinstance(pair.network, StickBreakingRNN):
        found[f"ens. {config.ensemble}"] = bits_per_symbol(pair, test, num_samples=config.ensemble, seed=config.seed)
        found["mean weights"] = bits_per_symbol(pair, test, mean=True)
        found["stopping early"] = bits_per_symbol(pair, test, mean=True, tolerance=config.tolerance)
    return found


def check(config: Config, text: Text) -> None:
    """Raise SystemExit, before the training, if the evaluation after it could not be done."""
    for flag, value, least in (("sample", config.sample, 0), ("ensemble", config.ensemble, 1)):
        if value < least:
            raise SystemExit(f"--{flag} must be at least {least}, got {value}")
    count = len(text.test[: config.test_symbols])
    if count < 2:
        raise SystemExit(
            f"--test-symbols must leave at least 2 of the {len(text.test)} symbols of the test part of {text.name}; "
            f"{config.test_symbols} leaves {count}"
        )


def train(config: Config) -> tuple[SequenceModel, Text]:
    """Train and write the run folder with its results; returns the trained pair and the text."""
    if config.resume:
        experiment.check_resumable(config.folder, SYSTEM.name, config, FREE)
    text = datasets.load_text(config.data, config.root)
    check(config, text)
    torch.manual_seed(config.seed)
    pair = build(config, text)
    settings = FitSettings(
        lr_schedule=Cosine(0.01) if config.decay else None,
        clip_grad_norm=config.clip_grad_norm * config.length,  # that of a window
        max_steps=config.updates,
        steps_per_epoch=config.valid_every,
        config=experiment.describe(SYSTEM.name, config),
    )
    training = fit_text(
        pair,
        replace(text, valid=text.valid[: config.valid_symbols]),
        length=config.length,
        objective=ELBO(kl_weight=config.kl_weight),
        optimizer=partial(torch.optim.Adam, lr=config.learning_rate, fused=True),
        batch_size=config.batch_size,
        kl_warmup=config.warmup / config.valid_every,
        seed=config.seed,
        run_dir=config.folder,
        resume=config.resume,
        settings=settings,
    )
    results = {
        "arguments": asdict(config),
        "parameters": sum(p.numel() for p in pair.parameters()),
        "best_update": training.best_step,
        "valid_bits": training.best_bits,
        "training_seconds": sum(training.seconds),
        "test": {},
    }
    write_results(config.folder, results)
    return pair, text


def report(config: Config, folder: Path, pair: SequenceModel, text: Text) -> str:
    """Measure a trained pair on the test part, keep that in ``results.json``; returns a table and a sample."""
    results = read_results(folder)
    results["test"] = {name: asdict(bits) for name, bits in measure(config, pair, text).items()}
    write_results(folder, results)
    lines = [
        (
            f"{config.data} {config.model}: {results['parameters']:,} parameters, {config.updates:,} updates in "
            f"{results['training_seconds']:.0f} s; best at {results['best_update']:,}, "
            f"{results['valid_bits']:.4f} bits per character on validation data"
        ),
        f"{'test':<16}{'bits':>8}{'bound':>8}{'steps computed':>16}{'mean step':>11}",
    ]
    for name, bits in results["test"].items():
        numbers = f"{bits['bits']:>8.4f}{bits['bound']:>8.4f}{bits['num_steps']:>16.3f}{bits['mean_step']:>11.3f}"
        lines.append(f"{name:<16}{numbers}")
    start = text.encode("the ") if set("the ") <= set(text.symbols) else text.train[:4]
    drawn = pair.generate(start.unsqueeze(0).to(config.device), config.sample)
    lines.append(f"a sample: {text.decode(start) + text.decode(drawn[0])!r}")
    return "\n".join(lines)


def main(config: Config) -> Iterator[str]:
    """Train, measure, yield a table and a sample."""
    yield report(config, config.folder, *train(config))


def evaluate(path: Path, flags: experiment.Evaluation) -> str:
    """Measure the best weights of a run folder again; returns a table and a sample."""
    for field in fields(experiment.Evaluation):
        if field.name not in ("root", "device", "seed") and getattr(flags, field.name) != field.default:
            raise ValueError(f"--{field.name.replace('_', '-')} is not for {path}, a run on a text")
    run = experiment.Run(path, SYSTEM.name, experiment.read_config(path)["arguments"], [], [])
    config = experiment.restore_config(Config, run)
    changed = {name: value for name in ("root", "device", "seed") if (value := getattr(flags, name)) is not None}
    config = replace(config, **changed)
    text = datasets.load_text(config.data, config.root)
    torch.manual_seed(config.seed)
    try:
        pair = build(config, text)
    except (RuntimeError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{path / 'config.json'} describes no pair that can be built: {error}") from error
    experiment.load_pair(run, pair)
    return report(config, path, pair.eval(), text)


def read_results(folder: Path) -> dict[str, Any]:
    """The content of ``results.json``."""
    file = folder / "results.json"
    try:
        return {"parameters": 0, **json.loads(file.read_text(encoding="utf-8"))}
    except ValueError as error:
        raise DamagedFileError(f"{file} is damaged: {error}") from error


def write_results(folder: Path, results: dict[str, Any]) -> None:
    """Write ``results.json``."""
    write_atomically(folder / "results.json", lambda file: file.write_text(json.dumps(results, indent=2) + "\n"))


SYSTEM = experiment.PlainSystem("adaptive_language_model", Config, main, evaluate)
