"""Means of the data under a trained pair (or draws, where there are none): reconstructions and samples."""

from collections.abc import Callable, Mapping
from typing import Any

import pyro.poutine as poutine
from torch import Tensor, nn

from pyrodgm.infer.contexts import evaluating


def reconstruct(pair: nn.Module, x: Tensor) -> Tensor:
    """Mean of p(x' | z) at one sample z of the guide for each datum; a draw from it where it has no mean.

    Args:
        pair: A module with ``model(x)``, whose data site is ``"x"``, and ``guide(x)``.
        x: Data ``[N, *event]``.

    Returns:
        Means of the data, ``[N, *event]``.
    """
    x = _like_parameters(x, pair)
    with evaluating(pair):
        guide_trace = poutine.trace(pair.guide).get_trace(x)
        return _mean_of_x(poutine.replay(pair.model, trace=guide_trace), x)


def sample(pair: nn.Module, like: Tensor, change: Mapping[str, Callable[[Tensor], Tensor]] | None = None) -> Tensor:
    """Mean of p(x | z) at one sample z of the prior for each row; a draw from it where it has no mean.

    Args:
        pair: A module with ``model(x)``, whose data site is ``"x"``.
        like: A tensor with the shape of the result, ``[N, *event]``; its values do not matter.
        change: For latent sites, a function of the sampled latents that gives those with which x is decoded.

    Returns:
        Means of the data, ``[N, *event]``.
    """
    like, program = _like_parameters(like, pair), poutine.uncondition(pair.model)
    with evaluating(pair):
        if change:
            trace = poutine.trace(program).get_trace(like)
            program = poutine.condition(program, {n: f(trace.nodes[n]["value"]) for n, f in change.items()})
        return _mean_of_x(program, like)


def _like_parameters(x: Tensor, pair: nn.Module) -> Tensor:
    first = next(pair.parameters())
    return x.to(first.device, first.dtype)


def _mean_of_x(program: Any, x: Tensor) -> Tensor:
    site = poutine.trace(program).get_trace(x).nodes["x"]
    try:
        return site["fn"].mean
    except NotImplementedError:  # pixels that depend on each other: the program's own draw, if it made one
        return site["fn"].sample() if site["is_observed"] else site["value"]
