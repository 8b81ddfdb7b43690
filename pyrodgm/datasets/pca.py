"""Principal components in place of pixels."""

from dataclasses import replace

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.split import Split


def pca(data: Dataset, components: int, whiten: bool = False) -> Dataset:
    """The same data in its first principal components, those of the training images.

    The components are divided by one number, so that their mean variance over the training images is 1, or each by its
    own, `whiten`. Values are real numbers then, for a Gaussian likelihood; the figures of an experiment do not show
    them.

    Args:
        data: images `[N, D]`.
        components: number of components C, at most D and at most the number of training images.
        whiten: give each component variance 1.

    Returns:
        Data with images `[N, C]` and `image_shape` (1, 1, C).

    Raises:
        ValueError: `components` is out of range, or the images vary along fewer directions.

    >>> from pyrodgm import datasets
    >>> small = pca(datasets.load("digits"), 20)
    >>> small.train, small.values
    (Split(images=[1197, 20], labels=[1197]), 'real')
    """
    if not isinstance(data, Dataset):
        raise TypeError(f"data must be a Dataset, got {data!r}")
    components = whole_number("components", components)
    images = data.train.images
    if components > min(images.shape):
        raise ValueError(f"components must be from 1 to {min(images.shape)}, got {components}")
    centred = images.double() - images.double().mean(0)
    few = len(images) < images.shape[1]  # then the smaller matrix of inner products has the same eigenvalues
    variance, vectors = torch.linalg.eigh((centred @ centred.T if few else centred.T @ centred) / len(images))
    variance, vectors = variance.flip(0)[:components], vectors.flip(1)[:, :components]
    if variance[-1] <= 1e-12 * variance[0]:
        raise ValueError(f"components: the images vary along fewer than {components} directions")
    directions = centred.T @ vectors / (len(images) * variance).sqrt() if few else vectors
    # Eigenvectors have no sign of their own.
    directions = directions * directions.gather(0, directions.abs().argmax(0, keepdim=True)).sign()
    matrix = directions / (variance if whiten else variance.mean()).sqrt()

    def project(split: Split) -> Split:
        def block(x: Tensor) -> Tensor:
            return ((x.double() - images.double().mean(0)) @ matrix).to(x.dtype)

        return Split(torch.cat([block(x) for x in split.images.split(5000)]), split.labels)

    train, valid, test = (project(split) for split in (data.train, data.valid, data.test))
    new = replace(data, train=train, valid=valid, test=test, values="real", binarization="none", num_bins=None)
    return replace(new, image_shape=(1, 1, components))
