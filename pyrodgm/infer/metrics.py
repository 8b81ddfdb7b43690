"""What else one asks of a trained pair: posterior means, active units, nearest neighbours."""

from typing import Any

import pyro.poutine as poutine
import torch
from torch import Tensor, nn

from pyrodgm.infer.contexts import evaluating
from pyrodgm.infer.rows import samples


def posterior_means(pair: nn.Module, x: Tensor, batch_size: int = 1000) -> dict[str, Tensor]:
    """Mean of the guide's distribution at each latent site.

    A site whose distribution depends on other latents is given at one sample of these; one with finitely many values,
    which have no mean, is left out.

    Args:
        pair: A module with ``guide(x)``.
        x: Data ``[N, *event]``.
        batch_size: Data a pass.

    Returns:
        A tensor ``[N, *event of the site]`` for each latent site.
    """
    first = next(pair.parameters())
    parts: list[dict[str, Tensor]] = []
    with evaluating(pair):
        for block in x.split(batch_size):
            trace = poutine.trace(pair.guide).get_trace(block.to(first.device, first.dtype))
            parts.append({s["name"]: s["fn"].mean for s in samples(trace) if _has_mean(s)})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _has_mean(site: Any) -> bool:
    return not site["is_observed"] and not site["fn"].has_enumerate_support


def active_units(pair: nn.Module, x: Tensor, threshold: float = 1e-2) -> dict[str, int]:
    r"""Number of latent dimensions that carry information about the data, for each latent site.

    A dimension u counts if :math:`\mathrm{Var}_x\bigl(\mathbb E_{q(u \mid x)}[u]\bigr) >` ``threshold``.

    Args:
        pair: A module with ``guide(x)``.
        x: Data ``[N, *event]``, at least two.
        threshold: Smallest variance of an active unit.

    Source: Burda et al. (2015), arXiv 1509.00519, section 5.2.
    """
    if len(x) < 2:
        raise ValueError(f"x must hold at least two data, got {len(x)}")
    return {name: int((mean.var(0) > threshold).sum()) for name, mean in posterior_means(pair, x).items()}


def classification_error(pair: nn.Module, x: Tensor, labels: Tensor, site: str = "y", batch_size: int = 1000) -> float:
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
    if len(x) != len(labels) or len(x) == 0:
        raise ValueError(f"labels: expected {len(x)} labels, one a datum and at least one; got {len(labels)}")
    first = next(pair.parameters())
    wrong = torch.zeros((), device=first.device, dtype=torch.int64)
    with evaluating(pair):
        for block, known in zip(x.split(batch_size), labels.split(batch_size), strict=True):
            trace = poutine.trace(pair.guide).get_trace(block.to(first.device, first.dtype))
            fn = trace.nodes[site]["fn"] if site in trace.nodes else None
            if fn is None or not fn.has_enumerate_support:
                raise ValueError(f"site: expected a discrete sample site of the guide, got {site!r}")
            values = fn.enumerate_support(expand=False)
            best = values.flatten()[fn.log_prob(values).argmax(0)]
            wrong += (best != known.to(first.device)).sum()
    return float(wrong) / len(x)


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
    from sklearn.neighbors import KNeighborsClassifier

    if not 1 <= k <= len(train_features):
        raise ValueError(f"k must lie between 1 and the {len(train_features)} training points, got {k}")
    classifier = KNeighborsClassifier(k).fit(train_features.flatten(1).cpu().numpy(), train_labels.cpu().numpy())
    return 1.0 - float(classifier.score(test_features.flatten(1).cpu().numpy(), test_labels.cpu().numpy()))
