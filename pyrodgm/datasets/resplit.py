"""Another division of the training images into training and validation."""

from dataclasses import replace

from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.split import Split, shuffled


def resplit(data: Dataset, num_train: int, num_valid: int | None = None, seed: int = 0) -> Dataset:
    """Training and validation images drawn without replacement from the training images; the test images stay.

    The published semi-supervised MNIST of 45,000 / 5,000 / 10,000 images is `resplit(mnist, 45_000, 5_000, seed)`.
    Where binarisation is dynamic, the new validation images are drawn once, from a fixed seed, as those of any data
    set.

    Args:
        data: a data set with at least `num_train + num_valid` training images.
        num_train: size of the new training split.
        num_valid: size of the new validation split; None: the validation images stay.
        seed: seed of the draw.

    Raises:
        ValueError: a size is out of range.

    >>> from pyrodgm import datasets
    >>> datasets.resplit(datasets.load("digits"), 1000, 197).valid
    Split(images=[197, 64], labels=[197])
    """
    if not isinstance(data, Dataset):
        raise TypeError(f"data must be a Dataset, got {data!r}")
    num_train, seed = whole_number("num_train", num_train), whole_number("seed", seed, None)
    num_valid = None if num_valid is None else whole_number("num_valid", num_valid, 0)
    total, drawn = len(data.train), num_valid or 0
    if num_train + drawn > total:
        raise ValueError(
            f"num_train and num_valid must be at most {total} images together, got {num_train} and {num_valid}"
        )
    order = shuffled(total, seed)
    train, valid = (rows(data.train, part) for part in (order[:num_train], order[num_train : num_train + drawn]))
    if num_valid is None:
        return replace(data, train=train)
    if data.binarization == "dynamic":
        valid = Dataset.from_tensors(train, valid, binarization="dynamic").valid
    return replace(data, train=train, valid=valid)


def rows(split: Split, chosen: Tensor) -> Split:
    """Some rows of a split."""
    chosen = chosen.to(split.images.device)
    return Split(split.images[chosen], None if split.labels is None else split.labels[chosen])
