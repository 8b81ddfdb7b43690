"""Windows of a long sequence, read in streams side by side with the state carried over."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pyro.infer
from torch import Tensor, nn

from pyrodgm.datasets import stream_batches
from pyrodgm.infer.estimators.code_length import bits_per_symbol
from pyrodgm.infer.tracing.arguments import Batch
from pyrodgm.infer.training.feeds.feed import Inputs


class WindowFeed:
    """Truncated backpropagation through a text: inputs and targets ``[streams, length]``, window by window.

    After the last window the text is read again from its beginning, with zero states.

    Args:
        pair: A :class:`~pyrodgm.models.SequenceModel` of symbols, which keeps the states between windows.
        sequence: The training symbols ``[N]``, on the device of the pair.
        valid: The validation symbols ``[M]``, M at least 2.
        streams: Number of places at which the text is read side by side.
        length: Symbols per window.
        seed: Seed of the draws in the validation.

    Raises:
        ValueError: If the sequence is too short for one window, or ``valid`` has no symbol to predict.
    """

    measures: tuple[str, ...] = ("valid_bound", "valid_bits", "num_steps", "mean_step")
    validates = True

    def __init__(self, pair: Any, sequence: Tensor, valid: Tensor, streams: int, length: int, seed: int = 0) -> None:
        if len(valid) < 2:
            raise ValueError(f"text must have a validation part of at least 2 symbols, got {len(valid)}")
        self.pair, self.valid, self.seed = pair, valid, seed
        self.windows = list(stream_batches(sequence, streams, length))
        self.pass_length: int | None = len(self.windows)
        self.identity = {"length": length, "training_symbols": len(sequence), "valid_symbols": len(valid)}
        self.position = 0
        pair.carry(streams)

    def next(self) -> Inputs:
        if self.position == 0:
            self.pair.restart()
        return self.windows[self.position]

    def arguments(self, *inputs: Tensor) -> Batch:
        return inputs

    def context(self, *inputs: Tensor) -> AbstractContextManager[Any]:
        return nullcontext()

    def count(self, *inputs: Tensor) -> int:
        return inputs[0].numel()

    def first(self) -> Inputs:
        return self.windows[0]

    def advance(self) -> None:
        self.pair.advance()
        self.position = (self.position + 1) % len(self.windows)

    def validate(self, pair: nn.Module, objective: pyro.infer.ELBO) -> tuple[float, dict[str, float]]:
        found = bits_per_symbol(pair, self.valid, seed=self.seed)
        metrics = {"valid_bound": -found.bound * math.log(2), "valid_bits": found.bits}
        return -found.bits, metrics | {"num_steps": found.num_steps, "mean_step": found.mean_step}

    def state(self) -> dict[str, Any]:
        return {"position": self.position, "carried": self.pair.carried}

    def load(self, state: dict[str, Any]) -> None:
        self.position = state["position"]
        self.pair.carried.copy_(state["carried"])
