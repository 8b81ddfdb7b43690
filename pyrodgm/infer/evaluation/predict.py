"""Draws of a trained pair, and means of the data under it."""

import numbers
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import programs, whole_number
from pyrodgm.infer.estimators.sites import Site, samples
from pyrodgm.infer.evaluation.per_datum import data_first, data_last, has_rows, in_data_plate, require_data_plate
from pyrodgm.infer.tracing.arguments import Batch, called_with, first_tensor, split_arguments
from pyrodgm.infer.tracing.contexts import evaluating
from pyrodgm.infer.training.feeds.columns import Columns, device_and_dtype, is_in_memory
from pyrodgm.infer.training.feeds.make import batches_of

Given: TypeAlias = Mapping[str, Tensor | Callable[[Tensor], Tensor]]


def reconstruct(pair: nn.Module, x: Any, *, site: str | None = None) -> Tensor:
    """Mean of p(x' | z) at one sample z of the guide for each datum; a draw from it where it has no mean.

    Args:
        pair: A module with ``model`` and ``guide``.
        x: Data ``[N, *event]``, or any that :func:`pyrodgm.infer.fit` takes, of one split.
        site: The observed site that is meant; by default the only one, or that which observes the first argument.

    Returns:
        Means of the data, ``[N, *plates, *event]``; ``plates`` are those of the site left of that of the data, mostly
        none.

    Raises:
        ValueError: If it is unclear which site is meant; for a site (a
            :class:`~pyrodgm.infer.estimators.reading.ProgramError`) outside the data plate.
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
    """Draws of the data: z from the prior, then x from p(x | z).

    Args:
        pair: A module with ``model``.
        like: The number N of draws; or data whose number and shape they are to have, which a model needs that looks at
            more of its argument than the length. Their values do not matter but for covariates.
        given: Values ``[N, *plates, *event]`` of latent sites that are not sampled, or ``[1, *plates, *event]`` for
            all data, or functions that make them from a sample.
        site: The observed site that is meant; by default the only one, or that which observes the first argument.

    Returns:
        Draws of the data, ``[N, *plates, *event]``, as :func:`reconstruct` has them.

    Raises:
        TypeError: If the model cannot run on a number of draws alone.
        ValueError: If it is unclear which site is meant, it lies outside the data plate, or ``like`` is a number
            below 1; if ``given`` has the name of no site.

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
    """Mean of p(x | z) at one sample z of the prior for each row; a draw from it where it has no mean.

    Arguments and errors are those of :func:`sample`.

    Returns:
        Means of the data, ``[N, *plates, *event]``.
    """
    return torch.cat([data_first(found, _mean(found)) for found in _drawn(pair, like, given, site)])


def _drawn(pair: nn.Module, like: Any, given: Given | None, site: str | None) -> Iterator[Site]:
    """The observed site of the model, drawn, for each batch of ``like``."""
    programs(pair, "model")
    values = _Given(given or {})
    with evaluating(pair):
        for batch in _batches(like, pair, "like"):
            program = poutine.uncondition(pair.model)
            values.count = len(first_tensor(batch))
            try:
                found = _observed(values(program), batch, site)
                values.require_all()
                yield found
                values.begin += values.count
            except (RuntimeError, IndexError, TypeError) as error:
                if not isinstance(like, numbers.Number):
                    raise
                raise TypeError(
                    f"like must be data for this model, which cannot run on a number of draws: {error}"
                ) from error
    values.require_no_more()


class _Given(Messenger):
    """Values of latent sites, datum by datum, or changes of what is drawn there, for one batch after another.

    Attributes:
        begin: Number of data in the batches before.
        count: Number of data in the batch.
    """

    def __init__(self, given: Given) -> None:
        super().__init__()
        self.given, self.met, self.rows = given, set[str](), dict[str, int]()
        self.begin = self.count = 0

    def require_all(self) -> None:
        """Refuse names that no site had."""
        for name in self.given:
            if name not in self.met:
                raise ValueError(f"given must be values of sample sites of the model, got {name!r}")

    def require_no_more(self) -> None:
        """Refuse values of more data than there were."""
        for name, rows in self.rows.items():
            if rows > self.begin:
                raise self._wrong(name, rows, self.begin)

    def _of_batch(self, site: Any, value: Tensor) -> Tensor:
        if len(value) == 1 or not (in_data_plate(site, self.count) and has_rows(site, value)):
            return value  # the same for all data
        own = value[self.begin : self.begin + self.count]
        if len(own) < self.count:
            raise self._wrong(site["name"], len(value), self.begin + self.count)
        self.rows[site["name"]] = len(value)
        return own

    @staticmethod
    def _wrong(name: str, rows: int, count: int) -> ValueError:
        return ValueError(
            f"given must have a value of '{name}' for each of the {count} data, or one for all, got {rows}"
        )

    def _pyro_sample(self, msg: Any) -> None:
        self.met.add(msg["name"])
        value = self.given.get(msg["name"])
        if isinstance(value, Tensor):
            msg["value"] = data_last(msg, self._of_batch(msg, value) if value.dim() else value)

    def _pyro_post_sample(self, msg: Any) -> None:
        change = self.given.get(msg["name"])
        if change is not None and not isinstance(change, Tensor):
            msg["value"] = data_last(msg, change(data_first(msg, msg["value"])))


def _observed(program: Any, batch: Batch, name: str | None) -> Site:
    """The observed site of a program run on a batch, also where the observation was taken away."""
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
    """Mean of a data site; a draw where it has none."""
    try:
        return site["fn"].mean
    except NotImplementedError:  # pixels that depend on each other: the program's own draw, if it made one
        return site["fn"].sample() if site["is_observed"] else site["value"]


def _batches(data: Any, pair: nn.Module, name: str) -> Iterator[Batch]:
    """The arguments for data in memory at once, and for others batch by batch; stand-ins for a number of data."""
    if isinstance(data, numbers.Number):
        data = whole_number(name, data)
        device, dtype = device_and_dtype(pair)
        return iter([(torch.zeros(data, device=device, dtype=dtype),)])
    if is_in_memory(data):
        return iter([Columns(data, pair, name).pick(slice(None))])
    return batches_of(data, pair, 1000, name)
