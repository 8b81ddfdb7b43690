"""Means of the data under a trained pair (or draws, where there are none): reconstructions and samples."""

from collections.abc import Callable, Mapping
from typing import Any

import pyro.poutine as poutine
from torch import Tensor, nn

from pyrodgm.infer.tracing.contexts import evaluating


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
        return mean_of_x(poutine.replay(pair.model, trace=guide_trace), x)


def sample(
    pair: nn.Module, like: Tensor, given: Mapping[str, Tensor | Callable[[Tensor], Tensor]] | None = None
) -> Tensor:
    """Mean of p(x | z) at one sample z of the prior for each row; a draw from it where it has no mean.

    Args:
        pair: A module with ``model(x)``, whose data site is ``"x"``.
        like: A tensor with the shape of the result, ``[N, *event]``; its values do not matter.
        given: Values ``[N, *event of the site]`` of latent sites that are not sampled, or functions that make them from
            a sample.

    Returns:
        Means of the data, ``[N, *event]``.
    """
    like, program = _like_parameters(like, pair), poutine.uncondition(pair.model)
    with evaluating(pair):
        if given:
            fixed = {name: value for name, value in given.items() if isinstance(value, Tensor)}
            changes = {name: value for name, value in given.items() if not isinstance(value, Tensor)}
            if changes:  # only then: drawing an image pixel by pixel takes long
                drawn = poutine.trace(program).get_trace(like)
                fixed |= {name: change(drawn.nodes[name]["value"]) for name, change in changes.items()}
            program = poutine.condition(program, fixed)
        return mean_of_x(program, like)


def _like_parameters(x: Tensor, pair: nn.Module) -> Tensor:
    first = next(pair.parameters())
    return x.to(first.device, first.dtype)


def mean_of_x(program: Any, x: Tensor) -> Tensor:
    """Mean of the data site of a program run on ``x``; a draw where it has no mean."""
    site = poutine.trace(program).get_trace(x).nodes["x"]
    try:
        return site["fn"].mean
    except NotImplementedError:  # pixels that depend on each other: the program's own draw, if it made one
        return site["fn"].sample() if site["is_observed"] else site["value"]
