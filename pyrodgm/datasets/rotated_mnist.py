"""Upright and rotated MNIST digits together, made from MNIST."""

import math
import os

import torch
import torch.nn.functional as F
from torch import Tensor

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.mnist import load_mnist
from pyrodgm.datasets.resplit import rows
from pyrodgm.datasets.split import Split, shuffled

SEED = 0


def rotate(images: Tensor, angles: Tensor) -> Tensor:
    """Images turned about their centre, bilinearly interpolated, black outside.

    Args:
        images: `[N, height, width]` in [0, 1].
        angles: `[N]`, radians, anticlockwise.

    >>> image = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    >>> rotate(image, torch.tensor([math.pi / 2])).round().int().tolist()
    [[[0, 0, 0], [1, 0, 0], [0, 0, 0]]]
    """
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    theta = torch.stack([torch.stack([cos, -sin, zero], -1), torch.stack([sin, cos, zero], -1)], 1)
    parts = zip(images.unsqueeze(1).split(5000), theta.to(images.dtype).split(5000), strict=True)
    turned = [F.grid_sample(x, F.affine_grid(t, x.shape, align_corners=False), align_corners=False) for x, t in parts]
    return torch.cat(turned).squeeze(1).clamp(0.0, 1.0)


def load_rotated_mnist(root: str | os.PathLike[str] | None = None) -> Dataset:
    """Upright and rotated digits, half and half: 70,000 / 10,000 / 20,000 grey images made from MNIST.

    The sizes are those of the MNIST+rot of Nalisnick and Smyth (2017), arXiv 1605.06197, who put 50,000 images of
    Larochelle's rotated MNIST beside 50,000 upright ones and drew the splits from these. Here the angles are uniform on
    the circle, from a fixed seed, and no digit is in two splits: the test images are MNIST's own 10,000, upright and
    rotated; of its training images, in an order from the same seed, the first 5,000 validate in both forms, those from
    5,000 to 40,000 train upright and those from 25,000 to 60,000 rotated.
    """
    mnist = load_mnist(root, grey=True)
    pool = Split(torch.cat([mnist.train.images, mnist.valid.images]), _both(mnist.train, mnist.valid))
    order = shuffled(len(pool), SEED)
    few = rows(pool, order[:5000])
    parts = [(rows(pool, order[5000:40_000]), rows(pool, order[25_000:])), (few, few), (mnist.test, mnist.test)]
    generator = torch.Generator("cpu").manual_seed(SEED)

    def joined(upright: Split, turned: Split) -> Split:
        angles = 2 * math.pi * torch.rand(len(turned), generator=generator, dtype=torch.float64, device="cpu")
        images = rotate(turned.images.unflatten(1, (28, 28)), angles).flatten(1)
        return Split(torch.cat([upright.images, images]), _both(upright, turned))

    train, valid, test = (joined(*pair) for pair in parts)
    return Dataset.from_tensors(train, valid, test, image_shape=(1, 28, 28), name="rotated_mnist")


def _both(first: Split, second: Split) -> Tensor:
    return torch.cat([split.labels for split in (first, second) if split.labels is not None])
