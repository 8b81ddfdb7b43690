"""Training data of which only some are labelled."""

from dataclasses import replace

import torch

from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.split import Split, shuffled


def hide_labels(data: Dataset, fraction: float, seed: int = 0, stratified: bool = False) -> Dataset:
    """The same data with the labels of only some training images; the others have the label -1.

    Args:
        data: a data set with training labels.
        fraction: share of the training images that keep their labels, in (0, 1], at least one image.
        seed: seed of the choice.
        stratified: choose this share of each class (rounded, at least one image), not of all images.

    Raises:
        ValueError: `fraction` is out of range, or there are no labels.

    >>> from pyrodgm import datasets
    >>> half = datasets.hide_labels(datasets.load("digits"), 0.5)
    >>> (half.train.labels >= 0).sum().item(), len(half.train)
    (598, 1197)
    """
    if not isinstance(data, Dataset):
        raise TypeError(f"data must be a Dataset, got {data!r}")
    fraction, seed = finite_number("fraction", fraction, most=1.0, above=0.0), whole_number("seed", seed, None)
    labels = data.train.labels
    if labels is None:
        raise ValueError(f"data: expected labels of the training images, {data.name} has none")
    if round(fraction * len(labels)) < 1:
        raise ValueError(f"fraction must leave at least one of {len(labels)} images its label, got {fraction}")
    order = shuffled(len(labels), seed).to(labels.device)
    if stratified:
        parts = [order[labels[order] == value] for value in labels.unique()]
        kept = torch.cat([part[: max(1, round(fraction * len(part)))] for part in parts])
    else:
        kept = order[: round(fraction * len(labels))]
    some = torch.full_like(labels, -1)
    some[kept] = labels[kept]
    return replace(data, train=Split(data.train.images, some))
