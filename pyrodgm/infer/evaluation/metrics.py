"""Diagnostics of a trained pair: posterior means, active units, nearest neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro.poutine as poutine
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_number, finite_tensor, programs, whole_number, whole_numbers
from pyrodgm.extras import needs_extra
from pyrodgm.infer.estimators.labels import most_probable
from pyrodgm.infer.estimators.sites import Site, Trace, samples
from pyrodgm.infer.evaluation.per_datum import data_first, require_data_plate
from pyrodgm.infer.evaluation.reported import reported_mean, reported_name, reported_value
from pyrodgm.infer.evaluation.shared import on_all_rows
from pyrodgm.infer.tracing.arguments import Batch, called_with, first_tensor, split_arguments
from pyrodgm.infer.tracing.contexts import evaluating
from pyrodgm.infer.tracing.program_error import ProgramError
from pyrodgm.infer.training.feeds.columns import from_array
from pyrodgm.infer.training.feeds.make import batches_of
from pyrodgm.processes import Share, gather_rows, sharing, world


def posterior_means(pair: nn.Module, x: Any, batch_size: int = 1000, num_samples: int = 10) -> dict[str, Tensor]:
    """Mean of the guide's distribution at each latent site.

    A mean without a closed form is estimated: for groups that depend on each other
    (:class:`~pyrodgm.distributions.Hierarchical`) by the conditional mean given one draw per pass, otherwise by the
    mean of 16 draws. Sites with finitely many values, which have no mean, and sites outside the data plate, which are
    the same for all data, are left out. Sites of stick logits are reported as weights, under the name given by the
    site's ``infer={"weights": name}``.

    Args:
        pair: A module with ``guide(x)``.
        x: Data ``[N, *event]``, or any that :func:`pyrodgm.infer.fit` takes, of one split.
        batch_size: Number of data per batch.
        num_samples: Number of passes averaged where sites depend on samples of others, or means are estimated.

    Returns:
        A tensor ``[N, *plates, *event]`` for each latent site; ``plates`` are the site's plates to the left of the
        data plate, usually none.

    Raises:
        ValueError: If there are no data, or a mean is not finite; as a
            :class:`~pyrodgm.infer.estimators.reading.ProgramError` if all sites lie outside the data plate.
    """
    return _finite({name: found.mean for name, found in _moments(pair, x, batch_size, num_samples).items()}, "means")


def posterior_samples(pair: nn.Module, x: Any, batch_size: int = 1000) -> dict[str, Tensor]:
    """One sample of the guide at each latent site; takes and returns what :func:`posterior_means` does."""
    programs(pair, "guide")
    batch_size = whole_number("batch_size", batch_size)

    def draw(block: Batch) -> dict[str, Tensor]:
        sites = _reported(samples(_guide_trace(pair, block)), block)
        return {reported_name(site): data_first(site, reported_value(site)) for site in sites}

    with evaluating(pair):
        parts = [on_all_rows(draw, pair, block) for block in batches_of(x, pair, batch_size, "x")]
    return _finite({name: torch.cat([part[name] for part in parts]) for name in parts[0]}, "samples")


def unit_variances(pair: nn.Module, x: Any, num_samples: int = 10) -> dict[str, Tensor]:
    r"""Variance over the data of each latent dimension's posterior mean.

    .. math:: \mathrm{Var}_x\bigl(\mathbb E_{q(u \mid x)}[u]\bigr)

    Where a site depends on samples of others, or its mean is estimated, the sampling variance is subtracted.

    Args:
        pair: A module with ``guide(x)``.
        x: Data ``[N, *event]``, or any that :func:`pyrodgm.infer.fit` takes, of one split; at least two.
        num_samples: Number of passes, as in :func:`posterior_means`; at least two to correct for sampling variance.

    Returns:
        A non-negative tensor ``[*plates, *event]`` for each latent site that :func:`posterior_means` reports.
    """
    moments = _moments(pair, x, 1000, num_samples)
    _finite({name: found.mean for name, found in moments.items()}, "means")
    count = min((len(found.mean) for found in moments.values()), default=2)
    if count < 2:
        raise ValueError(f"x must hold at least two data, got {count}")
    return {name: found.variance().clamp(min=0.0) for name, found in moments.items()}


def _finite(found: dict[str, Tensor], what: str) -> dict[str, Tensor]:
    for name, values in found.items():
        if not values.isfinite().all():
            raise ValueError(f"x must have finite posterior {what}, but those of site '{name}' are not")
    return found


@dataclass(frozen=True)
class _Moments:
    """Means of a site over passes ``[N, *plates, *event]``, with the sampling variance of these means."""

    mean: Tensor
    own: Tensor  # sampling variances of the means, summed over data, [*plates, *event]
    total: Tensor  # sampling variance of the sum of the means over data

    @classmethod
    def of(cls, block: Tensor) -> "_Moments":
        """Moments of a block ``[N, passes, *plates, *event]``."""
        passes = block.shape[1]
        if passes == 1:
            return cls(block[:, 0], *[torch.zeros_like(block[0, 0])] * 2)
        return cls(block.mean(1), block.var(1).sum(0) / passes, block.sum(0).var(0) / passes)

    @classmethod
    def joined(cls, blocks: list["_Moments"]) -> "_Moments":
        """Moments of several blocks, whose draws are independent of each other."""
        own, total = sum(b.own for b in blocks), sum(b.total for b in blocks)
        return cls(torch.cat([b.mean for b in blocks]), torch.as_tensor(own), torch.as_tensor(total))

    def variance(self) -> Tensor:
        """Variance over the data less the sampling variance; draws shared by all data of a block add none."""
        return self.mean.var(0) - (self.own - self.total / len(self.mean)) / (len(self.mean) - 1)


def _moments(pair: Any, x: Any, batch_size: int, num_samples: int) -> dict[str, _Moments]:
    """Moments of each site's mean over several passes."""
    programs(pair, "guide")
    batch_size, num_samples = whole_number("batch_size", batch_size), whole_number("num_samples", num_samples)

    def measure(block: Batch) -> dict[str, Tensor]:
        passes: dict[str, list[Tensor]] = {}
        for _ in range(num_samples):
            sites = samples(_guide_trace(pair, block))
            moved = sum(not site["is_observed"] for site in sites) > 1  # means may depend on draws of other sites
            for site in _reported(sites, block):
                mean, drawn = reported_mean(site)
                passes.setdefault(reported_name(site), []).append(data_first(site, mean))
                moved |= drawn
            if not moved:
                break
        return {name: torch.stack(means, 1) for name, means in passes.items()}

    with evaluating(pair):
        blocks = [
            {name: _Moments.of(passes) for name, passes in on_all_rows(measure, pair, block).items()}
            for block in batches_of(x, pair, batch_size, "x")
        ]
    return {name: _Moments.joined([block[name] for block in blocks]) for name in blocks[0]}


def _guide_trace(pair: Any, batch: Batch) -> Trace:
    args, kwargs = split_arguments(batch)
    with called_with(batch, "x"):
        return poutine.trace(pair.guide).get_trace(*args, **kwargs)


def _reported(sites: list[Site], block: Batch) -> list[Site]:
    """The latent sites in the data plate that have a mean."""
    found = [site for site in sites if not site["is_observed"] and not site["fn"].has_enumerate_support]
    return require_data_plate(found, len(first_tensor(block)))


def active_units(pair: nn.Module, x: Any, threshold: float = 1e-2) -> dict[str, int]:
    r"""Number of latent dimensions that carry information about the data, for each site in the data plate.

    A dimension u counts if :math:`\mathrm{Var}_x\bigl(\mathbb E_{q(u \mid x)}[u]\bigr) >` ``threshold``.

    Args:
        pair: A module with ``guide(x)``.
        x: Data ``[N, *event]``, or any that :func:`pyrodgm.infer.fit` takes, of one split; at least two.
        threshold: Smallest variance of an active unit.

    Source: Burda et al. (2015), arXiv 1509.00519, section 5.2.
    """
    threshold = finite_number("threshold", threshold, least=0.0)
    return {name: int((variance > threshold).sum()) for name, variance in unit_variances(pair, x).items()}


def classification_error(pair: nn.Module, x: Any, labels: Tensor, site: str = "y", batch_size: int = 1000) -> float:
    """Share of the labelled data for which the most probable value of a discrete guide site is not the label.

    Args:
        pair: A module with ``guide(x)``.
        x: Data ``[N, *event]``.
        labels: Values of the site ``[N]`` (class indices from 0 for a one-hot site), or one-hot vectors ``[N, K]`` for
            any site with K values. Data with the label -1 are ignored, unless -1 is a value of the site.
        site: Name of a guide site with one value per datum, from finitely many numbers or one-hot vectors (relaxed
            ones too).
        batch_size: Number of data per batch.

    Returns:
        A share in [0, 1].

    Raises:
        ValueError: If there are not as many labels as data, they have another shape or are all missing, or the guide
            has no such site.
    """
    programs(pair, "guide")
    batch_size = whole_number("batch_size", batch_size)
    if isinstance(labels, list):
        labels = torch.as_tensor(labels)
    elif hasattr(labels, "__array__") and not isinstance(labels, Tensor):
        labels = from_array(np.asanyarray(labels), "labels")
    finite_tensor("labels", labels)
    if labels.dim() not in (1, 2):
        raise ValueError(f"labels must be [N], or one-hot [N, K], got shape {list(labels.shape)}")
    wrong, labelled, count = torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.int64), 0
    with evaluating(pair):
        for block in batches_of(x, pair, batch_size, "x"):
            size = len(first_tensor(block))
            known = labels[count : count + size]
            count += size
            if len(known) < size:
                break
            sites = {found["name"]: found for found in samples(_guide_trace(pair, block))}
            if site not in sites:
                raise ValueError(f"site must be a sample site of the guide, got {site!r}")
            best, classes = most_probable(sites[site])
            if best.shape[-1:].numel() != size or best.numel() != size:
                raise ProgramError(site, f"must have one value a datum, {[size]}, got {list(best.shape)}")
            found, classes = _class_values(known, classes).to(best.device), classes.to(best.device)
            there = (found.double() != -1) | (classes == -1).any()
            wrong = wrong.to(best.device) + ((classes[best.flatten()] != found) & there).sum()
            labelled = labelled.to(best.device) + there.sum()
    if count != len(labels):
        raise ValueError(f"labels must be as many as the data, at least {count}, got {len(labels)}")
    if not labelled:
        raise ValueError(f"labels must hold at least one that is not missing, got -1 for all {count} data")
    return float(wrong) / float(labelled)


def _class_values(labels: Tensor, classes: Tensor) -> Tensor:
    """Labels ``[N]`` unchanged, and one-hot labels as the values of their classes."""
    if labels.dim() == 1:
        return labels
    ones = labels.count_nonzero(-1) == 1
    if labels.shape[1] != len(classes) or not bool((ones & (labels.sum(-1) == 1)).all()):
        raise ValueError(
            f"labels must be [N], or one-hot [N, {len(classes)}] with one 1 a row, got shape {list(labels.shape)}"
        )
    return classes.to(labels.device)[labels.to(torch.int64).argmax(-1)]


def knn_error(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor, k: int = 5
) -> float:
    """Error rate of a k-nearest-neighbour classifier (majority vote, Euclidean distance) on test points.

    Args:
        train_features: ``[N, D]``.
        train_labels: ``[N]``.
        test_features: ``[M, D]``.
        test_labels: ``[M]``.
        k: Number of neighbours.

    Returns:
        A share in [0, 1].
    """
    k = whole_number("k", k)
    return knn_errors(train_features, train_labels, test_features, test_labels, (k,))[k]


def knn_errors(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor, ks: Sequence[int]
) -> dict[int, float]:
    """:func:`knn_error` for several numbers of neighbours with one search; ties go to the smallest label."""
    with needs_extra("evaluation"):
        from sklearn.neighbors import NearestNeighbors

    finite_tensor("train_features", train_features)
    finite_tensor("test_features", test_features)
    if train_features.dim() < 2 or not len(test_features) or train_features.shape[1:] != test_features.shape[1:]:
        shapes = f"{list(train_features.shape)} and {list(test_features.shape)}"
        raise ValueError(f"train_features and test_features must be [N, D] and [M, D], got {shapes}")
    for name, value, count in (
        ("train_labels", train_labels, len(train_features)),
        ("test_labels", test_labels, len(test_features)),
    ):
        finite_tensor(name, value)
        if value.shape != (count,):
            raise ValueError(f"{name} must have shape [{count}], one for each row of features, got {list(value.shape)}")
    ks = whole_numbers("ks", ks)
    if not ks or not 1 <= min(ks) <= max(ks) <= len(train_features):
        raise ValueError(f"ks: each k must lie between 1 and the {len(train_features)} training points, got {list(ks)}")
    train_rows, test_rows = (_plain(features) for features in (train_features, test_features))
    search = NearestNeighbors(n_neighbors=max(ks)).fit(train_rows.numpy())
    with sharing(Share.of(len(test_features), world())) as share:
        own = test_rows[share.rows].numpy()
        nearest = gather_rows(torch.from_numpy(search.kneighbors(own, return_distance=False)))
    classes, train = train_labels.cpu().unique(return_inverse=True)
    votes = F.one_hot(train[nearest], len(classes)).cumsum(1)
    truth = test_labels.cpu()
    return {k: float((classes[votes[:, k - 1].argmax(1)] != truth).double().mean()) for k in ks}


def _plain(features: Tensor) -> Tensor:
    """Features as detached rows on the CPU, in float32 or float64 for scikit-learn."""
    rows = features.detach().flatten(1).cpu()
    return rows if rows.dtype in (torch.float32, torch.float64) else rows.double()
