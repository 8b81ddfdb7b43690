"""One of many models that are trained together."""

import numbers
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyro.infer
import torch
from torch import Tensor, nn

from pyrodgm.infer.tracing.graph import LossModule
from pyrodgm.infer.training.feeds.memory import MemoryFeed
from pyrodgm.infer.training.loop import Training
from pyrodgm.infer.training.nonfinite import NonFiniteError
from pyrodgm.infer.training.records import Records


class Member:
    """A run among others, with a random state of its own that is that of a run by itself.

    Args:
        training: The run, where it begins or goes on; the random state is that which it has.
        records: Its folder and loggers.
        run_dir: The folder.
        name: What errors call it.
    """

    def __init__(self, training: Training, records: Records, run_dir: Path | str | None, name: str) -> None:
        self.training, self.records, self.run_dir, self.name = training, records, run_dir, name
        self.generator = torch.Generator()
        self.generator.set_state(torch.get_rng_state())
        self.bound = 0.0

    def join(self) -> None:
        """Leave validation to the stack of all models, which sets ``bound``."""
        feed = self.training.feed
        assert isinstance(feed, MemoryFeed)
        if feed.validates:
            feed.validate = self._measured  # type: ignore[method-assign]

    @contextmanager
    def own_randomness(self) -> Iterator[None]:
        """Context in which the default generator draws what this model has to draw, and errors of training name it."""
        outside = torch.get_rng_state()
        torch.set_rng_state(self.generator.get_state())
        try:
            yield
        except NonFiniteError as error:
            error.args = (f"{self.name}: {error}",)
            raise
        finally:
            self.generator.set_state(torch.get_rng_state())
            torch.set_rng_state(outside)

    def module(self, objective: pyro.infer.ELBO) -> LossModule:
        """The loss of the model under an objective."""
        training = self.training
        return LossModule(training.pair, objective, training.feed.arguments, training.step.context)

    def next_rows(self) -> tuple[Tensor, ...]:
        """The inputs of the next batch, which a new pass draws."""
        feed = self.training.feed
        assert isinstance(feed, MemoryFeed)
        if feed.passes.remaining:
            return feed.next()
        with self.own_randomness():
            return feed.next()

    def _measured(self, pair: nn.Module, objective: pyro.infer.ELBO) -> tuple[float, dict[str, float]]:
        """The validation bound that was measured for all models at once."""
        return self.bound, {"valid_bound": self.bound}


def options_of(run: int | Mapping[str, Any]) -> dict[str, Any]:
    """The options of one of many runs: a seed alone, or options of ``fit`` by name."""
    if isinstance(run, Mapping):
        return dict(run)
    if not isinstance(run, numbers.Integral) or isinstance(run, bool):
        raise TypeError(f"runs must hold seeds or options of fit by name, got {run!r}")
    return {"seed": int(run)}
