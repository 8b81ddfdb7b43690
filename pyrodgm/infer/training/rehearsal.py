"""Runs of an objective before training, so that mistakes show as readable errors."""

from collections.abc import Callable
from types import MethodType
from typing import Any

import pyro.infer
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import nn

from pyrodgm.infer.estimators.require_observed import require_observed
from pyrodgm.infer.estimators.side_by_side import require_side_by_side
from pyrodgm.infer.estimators.sites import Site
from pyrodgm.infer.tracing.arguments import Batch, Keywords, first_tensor, split_arguments
from pyrodgm.infer.tracing.contexts import evaluating, loss_of, unchanged
from pyrodgm.infer.tracing.parameters import trained_parameters
from pyrodgm.infer.tracing.rows_plate import PARTICLES


def rehearse(pair: nn.Module, objective: pyro.infer.ELBO, batch: Batch) -> None:
    """Run an objective once with Pyro's checks on, and change nothing.

    Where it lays draws side by side (particles, enumerated values, components of mixtures) the programs must take them.
    Pyro's estimators look at a program's plates when they first meet it; afterwards they consume no more randomness.

    Raises:
        ProgramError: If a site gives such draws other densities than one alone; among all that the objective raises.
        ValueError: If the model observes nothing, and has no ``pyro.factor``.
    """
    with torch.no_grad(), unchanged(pair, first_tensor(batch).device):
        draws = _LeftOfPlates()
        observed = _Observing()
        model, guide = draws.noticing(pair, observed.noticing(pair.model)), draws.noticing(pair, pair.guide)
        try:
            with trained_parameters(pair), draws:
                loss_of(objective, model, guide, batch)
        finally:  # what the objective raised may be a consequence
            observed.require()
            with evaluating(pair):
                for part in draws.found.values():
                    require_side_by_side(pair, part)


class _Observing(Messenger):
    """Notices which sites of the model that count are observed, be it but for ``poutine.uncondition``."""

    def __init__(self) -> None:
        super().__init__()
        self.sites: dict[str, Site] = {}
        self.complete = False

    def noticing(self, program: Any) -> Callable[..., Any]:
        """The program in this context; one that Pyro knows by its kind as it is."""
        if isinstance(program, Messenger):
            return program

        def run(*args: Any, **kwargs: Any) -> Any:
            with self:
                result = program(*args, **kwargs)
            self.complete = True
            return result

        return run

    def require(self) -> None:
        """Refuse a model that ran to its end and observed nothing."""
        if self.complete:
            require_observed(self.sites.values())

    def _pyro_post_sample(self, msg: Any) -> None:
        if not site_is_subsample(msg) and not msg["infer"].get("_deterministic"):
            observed = msg["is_observed"] or msg["infer"].get("was_observed", False)
            self.sites[msg["name"]] = {"name": msg["name"], "is_observed": observed}


class _LeftOfPlates(Messenger):
    """Notices draws along dimensions left of all plates of the programs themselves.

    Attributes:
        found: The arguments of the calls with such draws, which need not be a whole batch, by their identity.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[tuple[int, ...], Batch] = {}
        self.batch: Batch = ()

    def noticing(self, pair: nn.Module, program: Any) -> Callable[..., Any]:
        """A method of the pair that runs a program in this context; one that Pyro knows by its kind as it is."""
        if isinstance(program, Messenger):
            return program

        def run(_: nn.Module, *args: Any, **kwargs: Any) -> Any:
            self.batch = (*args, Keywords(kwargs)) if kwargs else args
            return program(*args, **kwargs)

        return MethodType(run, pair)

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["is_observed"] or site_is_subsample(msg):
            return
        own = [f.dim for f in msg["cond_indep_stack"] if f.vectorized and f.name != PARTICLES]
        if msg["value"].dim() - msg["fn"].event_dim > -min(own, default=0):
            positional, keywords = split_arguments(self.batch)
            self.found[tuple(map(id, (*positional, *keywords.values())))] = self.batch
