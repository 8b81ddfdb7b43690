"""Data sets of images, read from files or made from a user's own tensors."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_number, whole_numbers
from pyrodgm.datasets.split import Split, checked_split

BINARIZATION_SEEDS = {"valid": 1, "test": 2}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training, validation and test images. Make one with `pyrodgm.datasets.load` or `Dataset.from_tensors`.

    Attributes:
        name: what it is called in run folders and tables.
        train, valid, test: the splits; one that does not exist has no rows, so that `if data.valid:` asks for it.
        image_shape: channels, height, width; their product is D.
        values: what `binarize` returns and validation and test images hold: "binary" (0 and 1), "grey" ([0, 1]),
            "real" (after `pyrodgm.datasets.pca`), "counts" (whole numbers from 0) or "symbols" (int64, rows of
            `pyrodgm.datasets.sentences`).
        binarization: "dynamic" where training images are probabilities, drawn anew for each batch, and validation and
            test images were drawn once; "fixed" for images that were published binary; "none" for others.
        num_bins: number of grey levels, where the images hold those alone: k / (num_bins - 1) for a whole number k, as
            `DiscretizedLogistic` has them. None for binary images and for values that are not known to be such.
        symbols: what the symbols of sentences stand for, by their numbers.

    >>> data = Dataset.from_tensors(torch.rand(10, 1, 4, 4), valid=torch.rand(5, 1, 4, 4), binarization="dynamic")
    >>> data.train, data.valid, len(data.test), data.image_shape
    (Split(images=[10, 16], labels=None), Split(images=[5, 16], labels=None), 0, (1, 4, 4))
    >>> batch = data.binarize(data.train.images[:2])
    """

    name: str
    train: Split
    valid: Split
    test: Split
    image_shape: tuple[int, int, int]
    values: Literal["binary", "grey", "real", "counts", "symbols"]
    binarization: Literal["fixed", "dynamic", "none"]
    num_bins: int | None = None
    symbols: tuple[str, ...] = ()

    @classmethod
    def from_tensors(
        cls,
        train: Tensor | Split,
        valid: Tensor | Split | None = None,
        test: Tensor | Split | None = None,
        *,
        image_shape: tuple[int, int, int] | None = None,
        binarization: Literal["fixed", "dynamic", "none"] = "none",
        num_bins: int | None = None,
        name: str = "tensors",
    ) -> "Dataset":
        """Data set from your own tensors.

        Args:
            train: images `[N, D]`, `[N, height, width]` or `[N, channels, height, width]`, floating point
                in [0, 1], of one dtype and device; a `Split` to give labels `[N]` (int64) too. None: no such split.
            valid: validation images, likewise.
            test: test images, likewise.
            image_shape: channels, height, width; the default is that of the training images, (1, 1, D) for `[N, D]`.
                More than 4 channels of 1, 3 or 4 columns, which are mostly channels that come last, need it.
            binarization: see `Dataset`. With "dynamic", validation and test images are drawn here, from fixed seeds,
                which leaves images of 0 and 1 as they are.
            num_bins: see `Dataset`; 256 for bytes divided by 255.
            name: name of the data set.

        Raises:
            TypeError: an argument is no tensor, images are not floating point, or labels are not int64.
            ValueError: a shape, device, dtype or value does not fit; the message names the argument.
        """
        if binarization not in ("fixed", "dynamic", "none"):
            raise ValueError(f'binarization: expected "fixed", "dynamic" or "none", got {binarization!r}')
        num_bins = None if num_bins is None else whole_number("num_bins", num_bins)
        if num_bins is not None and (binarization != "none" or num_bins < 2):
            raise ValueError(
                f'num_bins: expected at least 2 grey levels with binarization="none", or None; got {num_bins} with '
                f"binarization={binarization!r}"
            )
        splits = {"train": checked_split("train", train)}
        if not splits["train"]:
            raise ValueError("train: expected at least one image, got none")
        first = splits["train"].images
        for part, value in (("valid", valid), ("test", test)):
            splits[part] = Split(first[:0]) if value is None else checked_split(part, value)
            if _kind(splits[part].images) != _kind(first):
                raise ValueError(f"{part}: expected {_kind(first)} as in train, got {_kind(splits[part].images)}")
        for part, split in splits.items():
            images = split.images.flatten(1)
            if binarization == "dynamic" and part != "train":
                images = _drawn(images, BINARIZATION_SEEDS[part])
            elif binarization == "fixed" and not _is_binary(images):
                raise ValueError(f'{part}: expected images of 0 and 1 with binarization="fixed", got other values')
            elif num_bins is not None:
                _check_levels(part, images, num_bins)
            splits[part] = Split(images, split.labels)
        binary = num_bins is None and (
            binarization != "none" or all(_is_binary(split.images) for split in splits.values())
        )
        return cls(
            name=name,
            train=splits["train"],
            valid=splits["valid"],
            test=splits["test"],
            image_shape=_image_shape(first, image_shape),
            values="binary" if binary else "grey",
            binarization=binarization,
            num_bins=num_bins,
        )

    @cached_property
    def mean(self) -> Tensor:
        """Mean of the training images, `[D]`: for a likelihood's output bias or a VampPrior's start."""
        return self.train.images.mean(0)

    def binarize(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Values of a training batch: `x ~ Bernoulli(images)` if the binarisation is dynamic, else `images` itself.

        Args:
            images: `[batch, D]`, rows of `train.images`, on any device.
            generator: source of randomness on the same device; the default is torch's own.
        """
        return torch.bernoulli(images, generator=generator) if self.binarization == "dynamic" else images

    def decode(self, rows: Tensor) -> list[str]:
        """Sentences `[N, T]` of symbols as strings: words with blanks between them, or characters."""
        words = [[self.symbols[i] for i in row if i > 0] for row in rows.tolist()]
        is_characters = all(len(symbol) == 1 for symbol in self.symbols[1:])
        return [("" if is_characters else " ").join(tokens) for tokens in words]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Dataset":
        """The same data on another device; `dtype` is that of the images, if they are no symbols."""
        return replace(
            self,
            train=self.train.to(device, dtype),
            valid=self.valid.to(device, dtype),
            test=self.test.to(device, dtype),
        )


def _kind(images: Tensor) -> str:
    return f"images [N, {', '.join(map(str, images.shape[1:]))}] of {images.dtype} on {images.device}"


def _image_shape(images: Tensor, given: tuple[int, int, int] | None) -> tuple[int, int, int]:
    channels, height, width = (1, 1, *images.shape[1:])[-3:]
    own = (channels, height, width)
    if given is None:
        if images.dim() == 4 and width in (1, 3, 4) and channels > 4:  # as image files are read
            raise ValueError(
                f"train: expected images [N, channels, height, width], got {list(images.shape)}, whose channels seem "
                f"to be last: pass images.permute(0, 3, 1, 2), or image_shape={own} if they are not"
            )
        return own
    channels, height, width = whole_numbers("image_shape", given, length=3)
    if channels * height * width != math.prod(own) or (images.dim() > 2 and (channels, height, width) != own):
        raise ValueError(f"image_shape: expected (channels, height, width) of images {list(images.shape)}, got {given}")
    return channels, height, width


def _is_binary(images: Tensor) -> bool:
    return bool(((images == 0) | (images == 1)).all())


def _check_levels(part: str, images: Tensor, num_bins: int) -> None:
    # Some images at a time: a temporary copy of colour images would be large.
    for i, block in enumerate(images.split(1000)):
        levels = block * (num_bins - 1)
        wrong = ((levels - levels.round()).abs() > 1e-2).any(1)
        if wrong.any():
            row = 1000 * i + int(wrong.int().argmax())
            raise ValueError(
                f"{part}: expected the grey levels k / {num_bins - 1} with num_bins={num_bins}, "
                f"got other values, first in image number {row}"
            )


def _drawn(images: Tensor, seed: int) -> Tensor:
    # Uniforms below the probability: never for 0, always for 1, and the same for every device.
    generator = torch.Generator("cpu").manual_seed(seed)
    uniforms = torch.rand(images.shape, generator=generator, dtype=torch.float32, device="cpu")
    return (uniforms.to(images.device) < images).to(images.dtype)
