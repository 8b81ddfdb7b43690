"""Diagnostics of a trained pair: posterior means, active units, nearest neighbours."""

from collections.abc import Sequence
from typing import Any

import pyro.poutine as poutine
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_number, finite_tensor, programs, tensors, whole_number, whole_numbers
from pyrodgm.extras import needs_extra
from pyrodgm.infer.estimators.sites import Trace, samples
from pyrodgm.infer.evaluation.reported import reported_mean, reported_name, reported_value
from pyrodgm.infer.evaluation.shared import on_all_rows
from pyrodgm.infer.tracing.arguments import Batch, first_tensor, split_arguments
from pyrodgm.infer.tracing.contexts import evaluating
from pyrodgm.infer.training.feeds.make import batches_of
from pyrodgm.processes import Share, gather_rows, sharing, world


def posterior_means(pair: nn.Module, x: Any, batch_size: int = 1000, num_samples: int = 10) -> dict[str, Tensor]:
    """Mean of the guide's distribution at each latent site.

    One with finitely many values, which have no mean, is left out. Sites of sticks, which hold logits, are reported as
    the weights, under the name that the site's ``infer={"weights": name}`` gives them.

    Args:
        pair: A module with ``guide(x)``.
        x: Data ``[N, *event]``, or any that :func:`pyrodgm.infer.fit` takes, of one split.
        batch_size: Data per pass.
        num_samples: Passes that are averaged where sites depend on samples of others.

    Returns:
        A tensor ``[N, *event of the site]`` for each latent site.
    """
    return _finite({name: mean for name, (mean, _) in _moments(pair, x, batch_size, num_samples).items()}, "means")


def posterior_samples(pair: nn.Module, x: Any, batch_size: int = 1000) -> dict[str, Tensor]:
    """One sample of the guide at each latent site; arguments and result are those of :func:`posterior_means`."""
    programs(pair, "guide")
    batch_size = whole_number("batch_size", batch_size)

    def draw(block: Batch) -> dict[str, Tensor]:
        return {reported_name(s): reported_value(s) for s in samples(_guide_trace(pair, block)) if _has_mean(s)}

    with evaluating(pair):
        parts = [on_all_rows(draw, pair, block) for block in batches_of(x, pair, batch_size, "x")]
    return _finite({name: torch.cat([part[name] for part in parts]) for name in parts[0]}, "samples")


def unit_variances(pair: nn.Module, x: Any, num_samples: int = 10) -> dict[str, Tensor]:
    r"""Variance over the data of each latent dimension's posterior mean.

    .. math:: \mathrm{Var}_x\bigl(\mathbb E_{q(u \mid x)}[u]\bigr)

    Where a site depends on samples of others, what these samples add to the variance is taken off again.

    Args:
        pair: A module with ``guide(x)``.
        x: Data ``[N, *event]``, or any that :func:`pyrodgm.infer.fit` takes, of one split; at least two.
        num_samples: Samples of the other sites, at least two where there are others.

    Returns:
        A tensor ``[*event of the site]`` of at least 0 for each latent site.
    """
    moments = _moments(pair, x, 1000, num_samples)
    _finite({name: mean for name, (mean, _) in moments.items()}, "means")
    count = min((len(mean) for mean, _ in moments.values()), default=2)
    if count < 2:
        raise ValueError(f"x must hold at least two data, got {count}")
    return {name: (mean.var(0) - error.mean(0)).clamp(min=0.0) for name, (mean, error) in moments.items()}


def _finite(found: dict[str, Tensor], what: str) -> dict[str, Tensor]:
    for name, values in found.items():
        if not values.isfinite().all():
            raise ValueError(f"x must have finite posterior {what}, but those of site '{name}' are not")
    return found


def _moments(pair: Any, x: Any, batch_size: int, num_samples: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean over passes of each site's mean, and the squared standard error of that, ``[N, *event of the site]``."""
    programs(pair, "guide")
    batch_size, num_samples = whole_number("batch_size", batch_size), whole_number("num_samples", num_samples)

    def measure(block: Batch) -> dict[tuple[str, int], Tensor]:
        passes: dict[str, list[Tensor]] = {}
        for _ in range(num_samples):
            for site in samples(_guide_trace(pair, block)):
                if _has_mean(site):
                    passes.setdefault(reported_name(site), []).append(reported_mean(site))
            if len(passes) == 1:
                break
        stacks = {name: torch.stack(means) for name, means in passes.items()}
        both = {name: (stack.mean(0), _squared_error(stack)) for name, stack in stacks.items()}
        return {(name, i): value for name, values in both.items() for i, value in enumerate(values)}

    with evaluating(pair):
        parts = [on_all_rows(measure, pair, block) for block in batches_of(x, pair, batch_size, "x")]
    joined = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    return {name: (joined[name, 0], joined[name, 1]) for name, _ in joined}


def _guide_trace(pair: Any, batch: Batch) -> Trace:
    args, kwargs = split_arguments(batch)
    return poutine.trace(pair.guide).get_trace(*args, **kwargs)


def _squared_error(passes: Tensor) -> Tensor:
    return passes.var(0) / len(passes) if len(passes) > 1 else torch.zeros_like(passes[0])


def _has_mean(site: Any) -> bool:
    return not site["is_observed"] and not site["fn"].has_enumerate_support


def active_units(pair: nn.Module, x: Any, threshold: float = 1e-2) -> dict[str, int]:
    r"""Number of latent dimensions that carry information about the data, for each latent site.

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
    """Share of the data whose most probable value of a discrete guide site is not their label.

    Args:
        pair: A module with ``guide(x)``.
        x: Data ``[N, *event]``.
        labels: ``[N]``, from 0.
        site: The discrete site of the guide.
        batch_size: Data a pass.

    Returns:
        A share in [0, 1].

    Raises:
        ValueError: If there are not as many labels as data, or the guide has no such site with finitely many values.
    """
    programs(pair, "guide")
    batch_size = whole_number("batch_size", batch_size)
    labels = torch.as_tensor(labels) if isinstance(labels, list) or hasattr(labels, "__array__") else labels
    tensors(labels=labels)
    wrong, count = torch.zeros((), dtype=torch.int64), 0
    with evaluating(pair):
        for block in batches_of(x, pair, batch_size, "x"):
            known = labels[count : count + len(first_tensor(block))]
            count += len(first_tensor(block))
            if len(known) < len(first_tensor(block)):
                break
            trace = _guide_trace(pair, block)
            fn = trace.nodes[site]["fn"] if site in trace.nodes else None
            if fn is None or not fn.has_enumerate_support:
                raise ValueError(f"site: expected a discrete sample site of the guide, got {site!r}")
            values = fn.enumerate_support(expand=False)
            best = values.flatten()[fn.log_prob(values).argmax(0)]
            wrong = wrong.to(best.device) + (best != known.to(best.device)).sum()
    if count != len(labels):
        raise ValueError(f"labels must be as many as the data, at least {count}, got {len(labels)}")
    return float(wrong) / count


def knn_error(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor, k: int = 5
) -> float:
    """Share of test points that a vote of the k nearest training points (Euclidean) labels wrongly.

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
    """:func:`knn_error` for several numbers of neighbours, which are looked for once; of tied labels the least wins."""
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
        tensors(**{name: value})
        if value.shape != (count,):
            raise ValueError(f"{name} must have shape [{count}], one for each row of features, got {list(value.shape)}")
    ks = whole_numbers("ks", ks)
    if not ks or not 1 <= min(ks) <= max(ks) <= len(train_features):
        raise ValueError(f"ks: each k must lie between 1 and the {len(train_features)} training points, got {list(ks)}")
    search = NearestNeighbors(n_neighbors=max(ks)).fit(train_features.flatten(1).cpu().numpy())
    with sharing(Share.of(len(test_features), world())) as share:
        own = test_features[share.rows].flatten(1).cpu().numpy()
        nearest = gather_rows(torch.from_numpy(search.kneighbors(own, return_distance=False)))
    classes, train = train_labels.cpu().unique(return_inverse=True)
    votes = F.one_hot(train[nearest], len(classes)).cumsum(1)
    truth = test_labels.cpu()
    return {k: float((classes[votes[:, k - 1].argmax(1)] != truth).double().mean()) for k in ks}
