"""Samplers that each process runs for itself, and what comes of all of them together."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from pyrodgm.processes.collectives import all_sum
from pyrodgm.processes.world import world

_independent: ContextVar[bool] = ContextVar("independent", default=False)


@contextmanager
def independent_draws(independent: bool = True) -> Iterator[None]:
    """Context in which each process draws random numbers of its own within a step of training that they share.

    They are those that one process would draw for the entries of all, one process after the other; so the random state
    stays the same in all. Elsewhere the context does nothing.

    Args:
        independent: Whether they do; with False all draw the same numbers again, within such a context.
    """
    token = _independent.set(independent)
    try:
        yield
    finally:
        _independent.reset(token)


def draws_are_independent() -> bool:
    """Whether this is within :func:`independent_draws`."""
    return _independent.get()


def pooled(means: Sequence[Tensor], log_mean: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Means over entries of which each process has as many: those over the entries of all, in one message.

    Args:
        means: Those of this process, of any shapes and one dtype.
        log_mean: The log of another one, ``[]``.

    Returns:
        The same for all processes together.

    Example:
        >>> pooled([torch.ones(2)], torch.tensor(3.0))  # of a single process
        ((tensor([1., 1.]),), tensor(3.))
    """
    team = world()
    if team.size == 1:
        return tuple(means), log_mean
    own = torch.zeros(team.size, dtype=torch.float64, device=log_mean.device)
    own[team.rank] = log_mean
    sizes = [mean.numel() for mean in means]
    flat = torch.cat([own, *(mean.flatten().double() / team.size for mean in means)])
    logs, *parts = all_sum(flat).split([team.size, *sizes])
    together = tuple(part.view(mean.shape).to(mean.dtype) for part, mean in zip(parts, means, strict=True))
    return together, (logs.logsumexp(0) - math.log(team.size)).to(log_mean.dtype)
