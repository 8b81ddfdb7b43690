"""Results of a trained pair on test data."""

import math
import statistics
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyro.poutine as poutine
import torch
from torch import Tensor, nn

from pyrodgm.datasets import Dataset, evenly_spaced
from pyrodgm.infer import (
    ELBO,
    Certificate,
    LogLikelihood,
    active_units,
    bidirectional,
    classification_error,
    knn_errors,
    log_likelihood,
    perplexity,
    posterior_means,
    posterior_samples,
)
from pyrodgm.infer.estimators.labels import has_classes
from pyrodgm.infer.estimators.sites import samples
from pyrodgm.infer.evaluation.refined.sites import UnsupportedError
from pyrodgm.infer.tracing.contexts import evaluating, fork_rng
from pyrodgm.infer.training.parallel.shared_bound import SharedBound
from pyrodgm.processes import world

KNN = (3, 5, 10)  # numbers of neighbours


@runtime_checkable
class GreyLevels(Protocol):
    """A likelihood of grey levels.

    Attributes:
        num_bins: Number of grey levels; None: the data are binary.
    """

    num_bins: int | None


@dataclass(frozen=True)
class Results:
    """Results of a trained pair on test data; ``results.json`` holds these entries.

    Attributes:
        log_likelihood: Mean log p(x) of an image in nats, by importance sampling.
        standard_error: Its standard error over the images.
        elbo: Mean evidence lower bound of an image in nats.
        active_units: Number of active latent dimensions, for each latent site.
        untrusted_share: Share of the images whose Pareto k-hat exceeds 0.7, or effective sample size is below 30.
        knn_error: Share of the labelled images that their k nearest training images label wrongly, for each latent
            site, for means and for one sample of the posterior, and for k = 3, 5, 10 ("z mean k=5"), as far as there
            are so many labels.
        num_images: Number of test images for all this.
        num_samples: Importance samples per image, in the first stage of a refined proposal.
        seed: Seed of these.
        seconds_per_epoch: Median over the epochs of training, validation included, if they are known.
        bits_per_dimension: Mean of -log2 p(x) / D, where p(x) is the probability of the grey levels of the data.
        bits_standard_error: Its standard error over the images.
        classification_error: Share of all labelled test images that a pair with a classifier of its own labels wrongly.
        shared_error: Part of ``standard_error`` that all images share, from estimated log-partitions.
        later_share: Share of the images that needed a later stage of the estimate; None where the guide proposes.
        gap: Mean distance of bounds from both sides on simulated data, in nats, if it was asked for and can be had.
        gap_error: Its standard error over these data.
        trusted_gap: That mean over the simulated data whose estimates are not flagged.
        trusted_gap_error: Its standard error over these.
        perplexity: Perplexity of a symbol, where the data are sentences.
        perplexity_error: Its standard error over the sentences.
        encoder_log_likelihood: ``log_likelihood`` by draws of the encoder alone, if it was asked for.
        encoder_standard_error: Its standard error over the images.
    """

    log_likelihood: float
    standard_error: float
    elbo: float
    active_units: dict[str, int]
    untrusted_share: float
    knn_error: dict[str, float]
    num_images: int
    num_samples: int
    seed: int
    seconds_per_epoch: float | None
    bits_per_dimension: float | None = None
    bits_standard_error: float | None = None
    classification_error: float | None = None
    shared_error: float = 0.0
    later_share: float | None = None
    gap: float | None = None
    gap_error: float | None = None
    trusted_gap: float | None = None
    trusted_gap_error: float | None = None
    perplexity: float | None = None
    perplexity_error: float | None = None
    encoder_log_likelihood: float | None = None
    encoder_standard_error: float | None = None


def bits(nats: float, dimensions: int) -> float:
    """Bits per dimension of a datum of so many dimensions whose log-probability is ``nats``.

    Example:
        >>> bits(-560 * math.log(256), dimensions=560)  # a fair choice of each of 560 bytes
        8.0
    """
    return -nats / (dimensions * math.log(2))


def evaluate(  # noqa: PLR0913 - what to evaluate, and how long each estimate takes
    pair: nn.Module,
    data: Dataset,
    *,
    num_samples: int | None = None,
    num_images: int | None = None,
    certified: int = 0,
    encoder_samples: int = 0,
    seed: int = 0,
    seconds: Sequence[float] = (),
    progress: bool | None = None,
) -> tuple[Results, LogLikelihood]:
    """Evaluate a pair on test data.

    Args:
        pair: A trained pair with ``model(x)`` and ``guide(x)``.
        data: The data it was trained on; its test images are evaluated.
        num_samples: Budget per image, as in :func:`pyrodgm.infer.log_likelihood`.
        num_images: Number of test images, at least 2, evenly spread over the split; all by default.
        certified: Number of data to simulate for bounds from both sides; 0 for none.
        encoder_samples: Draws of the encoder an image for a second estimate of the log-likelihood; 0 for none.
        seed: Seed of everything random here; the caller's random state is left as it was.
        seconds: Seconds that each epoch of training took.
        progress: Whether to show a progress bar; by default where the output is a terminal.

    Returns:
        The results, and the log-likelihood of each image.

    Raises:
        ValueError: If ``data`` has fewer than two test images, or fewer than ``num_images``, or that is less than 2.
    """
    if len(data.test) < 2:
        raise ValueError(f"data must hold at least two test images, got {len(data.test)}: pass a test split")
    rows = evenly_spaced(len(data.test), len(data.test) if num_images is None else num_images)
    first = next(pair.parameters())
    x = data.test.images[rows].to(first.device, first.dtype)
    likelihood = log_likelihood(pair, x, num_samples, seed=seed, progress=progress)
    certificate = _certificate(pair, certified, x, num_samples, seed)
    (gap, gap_error), (trusted_gap, trusted_gap_error) = _gaps(certificate)
    drawn = None
    if encoder_samples:
        drawn = log_likelihood(pair, x, encoder_samples, proposal="guide", seed=seed, progress=progress)
    with fork_rng(first.device):
        torch.manual_seed(seed)
        elbo, units, errors = _elbo(pair, x), active_units(pair, x), _knn_errors(pair, data, x, rows)
    in_bits, symbols = has_bits(pair, data), perplexity(likelihood) if data.values == "symbols" else None
    results = Results(
        log_likelihood=likelihood.mean,
        standard_error=likelihood.standard_error,
        elbo=elbo,
        active_units=units,
        untrusted_share=likelihood.untrusted_share,
        knn_error=errors,
        num_images=len(x),
        num_samples=likelihood.num_samples,
        seed=seed,
        seconds_per_epoch=statistics.median(seconds) if seconds else None,
        bits_per_dimension=bits(likelihood.mean, x.shape[1]) if in_bits else None,
        bits_standard_error=bits(-likelihood.standard_error, x.shape[1]) if in_bits else None,
        classification_error=_classification_error(pair, data),
        shared_error=likelihood.shared_error,
        later_share=likelihood.fallback_share if bool((likelihood.stage > 0).any()) else None,
        gap=gap,
        gap_error=gap_error,
        trusted_gap=trusted_gap,
        trusted_gap_error=trusted_gap_error,
        perplexity=None if symbols is None else symbols.value,
        perplexity_error=None if symbols is None else symbols.standard_error,
        encoder_log_likelihood=None if drawn is None else drawn.mean,
        encoder_standard_error=None if drawn is None else drawn.standard_error,
    )
    return results, likelihood


def has_bits(pair: nn.Module, data: Dataset) -> bool:
    """Whether results come in bits per dimension: where the likelihood is that of the data's own grey levels.

    Densities and pseudo-likelihoods of them, and probabilities of wider bins, could go below the least bits there are.
    """
    return data.num_bins is not None and any(
        isinstance(module, GreyLevels) and module.num_bins == data.num_bins for module in pair.modules()
    )


def _certificate(pair: nn.Module, count: int, x: Tensor, num_samples: int | None, seed: int) -> Certificate | None:
    """Bounds from both sides, where they are asked for and the latents allow them."""
    if count == 0:
        return None
    try:
        return bidirectional(pair, count, x[:1], num_samples, seed=seed)
    except UnsupportedError as error:
        warnings.warn(f"there are no bounds from both sides: {error}", stacklevel=3)
        return None


def _gaps(certificate: Certificate | None) -> Iterator[tuple[float | None, float | None]]:
    """The gap and that of the data that are not flagged, with their errors; None for what there is not."""
    c = certificate
    pairs = ((c.gap, c.standard_error), (c.trusted_gap, c.trusted_standard_error)) if c else ((math.nan, math.nan),) * 2
    for value, error in pairs:
        yield None if math.isnan(value) else value, None if math.isnan(error) else error


def _elbo(pair: Any, x: Tensor) -> float:
    with evaluating(pair):
        return SharedBound(world())(pair, ELBO(num_particles=10), ((block,) for block in x.split(500)))


def _classification_error(pair: Any, data: Dataset) -> float | None:
    """Error of the guide's site of labels ``y``; None where it has none."""
    if data.test.labels is None or not bool((data.test.labels >= 0).any()):
        return None
    first = next(pair.parameters())
    x = data.test.images[:1].to(first.device, first.dtype)
    with fork_rng(first.device), evaluating(pair):
        guide = samples(poutine.trace(pair.guide).get_trace(x))
    if not any(site["name"] == "y" and has_classes(site) for site in guide):
        return None
    return classification_error(pair, data.test.images, data.test.labels)


def _knn_errors(pair: nn.Module, data: Dataset, x: Tensor, rows: Tensor) -> dict[str, float]:
    if data.train.labels is None or data.test.labels is None:
        return {}
    known, seen = data.train.labels >= 0, data.test.labels[rows] >= 0
    ks = [k for k in KNN if k <= int(known.sum())]
    if not ks or not bool(seen.any()):
        return {}
    labels, x = (data.train.labels[known], data.test.labels[rows][seen]), x[seen.to(x.device)]
    errors: dict[str, float] = {}
    for kind, latents in (("mean", posterior_means), ("sample", posterior_samples)):
        near, far = latents(pair, x), latents(pair, data.binarize(data.train.images[known]))
        for site in near:
            found = knn_errors(far[site], labels[0], near[site], labels[1], ks)
            errors |= {f"{site} {kind} k={k}": error for k, error in found.items()}
    return errors
