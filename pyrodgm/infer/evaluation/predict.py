"""Reconstructions by a trained pair, and samples from it."""

import numbers
from collections.abc import Iterator
from typing import Any

import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import programs, whole_number
from pyrodgm.infer.estimators.sites import Site, samples
from pyrodgm.infer.evaluation.given import Given, GivenValues
from pyrodgm.infer.evaluation.per_datum import data_first, require_data_plate
from pyrodgm.infer.tracing.arguments import Batch, called_with, first_tensor, split_arguments
from pyrodgm.infer.tracing.contexts import evaluating
from pyrodgm.infer.training.feeds.columns import Columns, device_and_dtype, is_in_memory
from pyrodgm.infer.training.feeds.make import batches_of


def reconstruct(pair: nn.Module, x: Any, *, site: str | None = None) -> Tensor:
    """Reconstruct data: the mean of p(x' | z) at one sample z of the guide per datum, or a draw if it has no mean.

    Args:
        pair: A module with ``model`` and ``guide``.
        x: Data ``[N, *event]``, or any that :func:`pyrodgm.infer.fit` takes, of one split.
        site: Name of the observed site to reconstruct; by default the only one, or the one that observes the first
            argument.

    Returns:
        Means of the data, ``[N, *plates, *event]``; ``plates`` are the site's plates to the left of the data plate,
        usually none.

    Raises:
        TypeError: If ``x`` is a number.
        ValueError: If the site is ambiguous, or a mean is not finite; as a
            :class:`~pyrodgm.infer.estimators.reading.ProgramError` if the site lies outside the data plate.
    """
    programs(pair, "model", "guide")
    if isinstance(x, numbers.Number):
        raise TypeError(f"x must be data, got {x!r}")
    parts = []
    with evaluating(pair):
        for batch in _batches(x, pair, "x"):
            args, kwargs = split_arguments(batch)
            with called_with(batch, "x"):
                guide_trace = poutine.trace(pair.guide).get_trace(*args, **kwargs)
                found = _observed(poutine.replay(pair.model, trace=guide_trace), batch, site)
            parts.append(data_first(found, _mean(found)))
    result = torch.cat(parts)
    if not result.isfinite().all():
        raise ValueError("x must have finite reconstructions, got data of which they are not")
    return result


def sample(pair: nn.Module, like: Any, given: Given | None = None, *, site: str | None = None) -> Tensor:
    """Sample data from the model: z from the prior, then x from p(x | z).

    Args:
        pair: A module with ``model``.
        like: The number N of draws; or N data, for a model that uses more of its argument than the length. The values
            of such data matter only as covariates.
        given: By site name, finite values ``[N, *plates, *event]`` (``[1, *plates, *event]`` for all data) to use
            instead of sampling the site, or functions that are applied to its samples. ``site`` itself cannot be given.
        site: Name of the observed site to sample; by default the only one, or the one that observes the first
            argument.

    Returns:
        Draws of the data, ``[N, *plates, *event]``, in the layout of :func:`reconstruct`.

    Raises:
        TypeError: If the model cannot run on a number of draws alone; if a value of ``given`` is neither a tensor nor a
            function, or of a dtype with which the model does not run.
        ValueError: If the site is ambiguous or lies outside the data plate; if ``like`` is a number below 1; if
            ``given`` names ``site`` or no site of the model, or has a value of the wrong shape or that is not finite.

    Example:
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.models import VAE
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> vae = VAE(StandardNormal(2), BernoulliLikelihood(nn.Linear(2, 5)), GaussianPosterior(nn.Linear(5, 4)))
        >>> sample(vae, 16).shape
        torch.Size([16, 5])
    """
    return torch.cat([data_first(found, found["value"]) for found in _drawn(pair, like, given, site)])


def sample_means(pair: nn.Module, like: Any, given: Given | None = None, *, site: str | None = None) -> Tensor:
    """Mean of p(x | z) at one sample z of the prior per row, or a draw if it has no mean.

    Arguments and errors are those of :func:`sample`.

    Returns:
        Means of the data, ``[N, *plates, *event]``.
    """
    return torch.cat([data_first(found, _mean(found)) for found in _drawn(pair, like, given, site)])


def _drawn(pair: nn.Module, like: Any, given: Given | None, site: str | None) -> Iterator[Site]:
    """For each batch of ``like``, the observed site of the model, sampled."""
    programs(pair, "model")
    values = GivenValues(given)
    with evaluating(pair):
        for batch in _batches(like, pair, "like"):
            program = poutine.uncondition(pair.model)
            values.count = len(first_tensor(batch))
            try:
                with called_with(batch, "like"):
                    found = _observed(values(program), batch, site)
            except Exception as error:
                if values.refusal is not None:
                    raise values.refusal from None
                if not isinstance(error, (RuntimeError, IndexError, TypeError)):
                    raise
                values.require_dtypes(pair, first_tensor(batch).device, error)
                if not isinstance(like, numbers.Number):
                    raise
                raise TypeError(
                    f"like must be data for this model, which cannot run on a number of draws: {error}"
                ) from error
            values.require_all()
            values.require_not(found["name"])
            yield found
            values.begin += values.count
    values.require_no_more()


def _observed(program: Any, batch: Batch, name: str | None) -> Site:
    """The observed site of a program run on a batch; ``poutine.uncondition`` may have removed the observation."""
    args, kwargs = split_arguments(batch)
    trace = poutine.trace(program).get_trace(*args, **kwargs)
    found = {
        site["name"]: site
        for site in samples(trace)
        if (site["is_observed"] or site["infer"].get("was_observed")) and not isinstance(site["fn"], dist.Unit)
    }
    if name is None and len(found) > 1:
        data = next(iter([*args, *kwargs.values()]))
        found = {n: s for n, s in found.items() if s["infer"].get("obs", s["value"]) is data} or found
    if (name is None and len(found) != 1) or (name is not None and name not in found):
        raise ValueError(f"site must be one of the observed sites {', '.join(found) or '(none)'}, got {name!r}")
    chosen = found[name] if name is not None else next(iter(found.values()))
    require_data_plate([chosen], len(first_tensor(batch)))
    return chosen


def _mean(site: Site) -> Tensor:
    """Mean of a data site, or a draw if it has no mean."""
    try:
        return site["fn"].mean
    except NotImplementedError:  # autoregressive pixels, say: take the program's own draw if the site was sampled
        return site["fn"].sample() if site["is_observed"] else site["value"]


def _batches(data: Any, pair: nn.Module, name: str) -> Iterator[Batch]:
    """The programs' arguments: one batch for data in memory, several for other data, zeros ``[N]`` for a number N."""
    if isinstance(data, numbers.Number):
        data = whole_number(name, data)
        device, dtype = device_and_dtype(pair)
        return iter([(torch.zeros(data, device=device, dtype=dtype),)])
    if is_in_memory(data):
        return iter([Columns(data, pair, name).pick(slice(None))])
    return batches_of(data, pair, 1000, name)
