"""The data of a run, and what of them is evaluated."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pyrodgm import datasets
from pyrodgm.datasets import Dataset, Split
from pyrodgm.experiment.config import TrainingConfig
from pyrodgm.processes import in_shared_memory


def load_data(
    config: TrainingConfig, root: str | None = None, load: Callable[[str, str | None], Dataset] = datasets.load
) -> Dataset:
    """The data that a run was or is trained on; those of several processes of one machine are in memory once.

    Args:
        config: Flags of the system.
        root: Folder of the data, if it is no longer that in ``config``.
        load: Reads the data, called with their name and folder.

    Raises:
        ValueError: If there are fewer training images than ``config.train_images``, or that is less than 1.
    """
    data = in_shared_memory(partial(load, config.data, root or config.root), (Dataset, Split))
    count = config.train_images
    if count is None:
        return data
    if not 1 <= count <= len(data.train):
        raise ValueError(f"train_images must lie between 1 and the {len(data.train)} of {config.data}, got {count}")
    labels = None if data.train.labels is None else data.train.labels[:count]
    return replace(data, train=Split(data.train.images[:count], labels))


def check_evaluation(data: Dataset, num_samples: int | None, num_images: int | None) -> None:
    """Check the numbers of an evaluation, before the training that it follows.

    Args:
        data: The data, whose test images are evaluated.
        num_samples: Budget per test image; None: the usual one.
        num_images: Number of test images; None: all.

    Raises:
        ValueError: If a number is out of range; names its flag.
    """
    if num_samples is not None and num_samples < 1:
        raise ValueError(f"--num-samples must be at least 1, got {num_samples}")
    most = len(data.test)
    if num_images is not None and not 2 <= num_images <= most:
        raise ValueError(f"--num-images must lie between 2 and the {most} test images of {data.name}, got {num_images}")
