"""One split of a data set, and its validation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import tensors

ALIGNMENT = 64  # bytes: what the allocator of PyTorch keeps to, and NumPy, safetensors and slices of tensors do not


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images and, where there are any, their labels.

    Attributes:
        images: `[N, D]`, floating point in [0, 1], or int64 where they are sentences.
        labels: `[N]` int64, -1 where a label is missing, or None.

    >>> Split(torch.rand(10, 64), torch.arange(10))
    Split(images=[10, 64], labels=[10])
    """

    images: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        labels = None if self.labels is None else list(self.labels.shape)
        return f"Split(images={list(self.images.shape)}, labels={labels})"

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Split":
        """The same split on another device; `dtype` is that of floating-point images, whose memory is aligned."""
        labels = None if self.labels is None else self.labels.to(device)
        dtype = dtype if self.images.is_floating_point() else None
        return Split(aligned(self.images.to(device=device, dtype=dtype)), labels)


def aligned(values: Tensor) -> Tensor:
    """The same values in memory that begins where PyTorch's allocator would begin it; copied only if they must be.

    Matrix products choose their instructions by the alignment of their operands, so that the last digits of a result
    would depend on where NumPy or a file happened to put them.

    >>> aligned(torch.arange(5.0)[1:])
    tensor([1., 2., 3., 4.])
    """
    return values if values.data_ptr() % ALIGNMENT == 0 else values.clone()


def checked_split(part: str, value: Tensor | Split) -> Split:
    """The split called `part`; TypeError or ValueError, with that name, if it is not what `Split` says.

    Images may still have the shape `[N, height, width]` or `[N, channels, height, width]`.
    """
    split = value if isinstance(value, Split) else Split(value)
    _check_images(part, split.images)
    if split.labels is not None:
        _check_labels(part, split.labels, len(split))
    return split


def _check_images(part: str, images: Tensor) -> None:
    if not isinstance(images, Tensor):
        raise TypeError(f"{part}: expected a tensor or a Split of tensors, got {type(images).__name__}")
    tensors(**{part: images})
    if not images.is_floating_point():
        raise TypeError(f"{part}: expected floating-point images in [0, 1], got {images.dtype} (divide bytes by 255)")
    if images.dim() not in (2, 3, 4) or 0 in images.shape[1:]:
        shapes = "[N, D], [N, height, width] or [N, channels, height, width]"
        raise ValueError(f"{part}: expected images {shapes}, got {list(images.shape)}")
    # A comparison with NaN is false.
    wrong = ~((images >= 0) & (images <= 1)).flatten(1).all(1)
    if wrong.any():
        row = int(wrong.int().argmax())
        low, high = images[row].min().item(), images[row].max().item()
        raise ValueError(
            f"{part}: expected values in [0, 1], got others in {int(wrong.sum())} of {len(images)} images, "
            f"first in number {row}, which goes from {low:g} to {high:g}"
        )


def _check_labels(part: str, labels: Tensor, count: int) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        got = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"{part}: expected labels as an int64 tensor, got {got}")
    if labels.shape != (count,):
        raise ValueError(f"{part}: expected labels [{count}], one an image; got {list(labels.shape)}")
    if (labels < -1).any():
        raise ValueError(f"{part}: expected labels from 0, or -1 where one is missing, got {int(labels.min())}")


def shuffled(count: int, seed: int) -> Tensor:
    """The numbers from 0 to count - 1 in an order that depends on the seed alone, `[count]` int64."""
    generator = torch.Generator("cpu").manual_seed(seed)
    # Sorted uniforms depend on the generator alone; torch.randperm also on an algorithm that torch may change.
    return torch.rand(count, generator=generator, dtype=torch.float64, device="cpu").argsort(stable=True)
