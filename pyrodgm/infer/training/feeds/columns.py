"""Data in memory: tensors whose rows belong together, on one device."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import tensors
from pyrodgm.datasets import Split
from pyrodgm.infer.tracing.arguments import Batch, Keywords
from pyrodgm.infer.training.feeds.whole_numbers import become_real

KINDS = (
    "a tensor, a NumPy array, a tuple or dict of these, a pyrodgm Dataset, a torch Dataset or IterableDataset, or a "
    "DataLoader"
)


class Columns:
    """Arguments of model and guide for all data, of which a batch takes rows.

    Args:
        data: A tensor, a NumPy array or a :class:`~pyrodgm.datasets.Split`, which become the one positional argument;
            a tuple or list of tensors and arrays for several; a dict for keyword arguments. The first dimension of each
            is that of the data.
        like: The module that they are for: floating-point numbers get its device and dtype. So do truth values and
            bytes where they are the data themselves, the first argument, and other whole numbers there where the
            programs do not run on int64; other arguments keep truth values, as masks must, and whole numbers, as int64.
        name: What error messages call the data.

    Raises:
        TypeError: If an argument is neither a tensor nor an array of real numbers, is sparse, quantised or nested, or
            has a mask.
        ValueError: If there are no data, or the arguments differ in length.
    """

    def __init__(self, data: Any, like: nn.Module, name: str = "data") -> None:
        device, dtype = device_and_dtype(like)
        if isinstance(data, Split):
            data = data.images
        self.names: tuple[str, ...] = ()
        parts: list[Any]
        if isinstance(data, Mapping):
            self.names, parts = tuple(data), list(data.values())
        else:
            parts = list(data) if isinstance(data, (tuple, list)) else [data]
        labels = [*(f"{name}[{key!r}]" for key in self.names)] or [f"{name}[{i}]" for i in range(len(parts))]
        if not isinstance(data, (Mapping, tuple, list)):
            labels = [name]
        self.values = [
            as_argument(part, i == 0, device, dtype, label)
            for i, (part, label) in enumerate(zip(parts, labels, strict=True))
        ]
        lengths = [len(value) if value.dim() else 0 for value in self.values]
        if not lengths or lengths[0] == 0:
            raise ValueError(f"{name} must hold at least one datum, got {[list(v.shape) for v in self.values]}")
        for label, length in zip(labels, lengths, strict=True):
            if length != lengths[0]:
                raise ValueError(f"{label} must hold as many data as the first argument, {lengths[0]}, got {length}")
        if become_real(like, self.pick(slice(0, 1)), dtype):
            self.values[0] = self.values[0].to(dtype)

    def __len__(self) -> int:
        return len(self.values[0])

    def pick(self, rows: Tensor | slice) -> Batch:
        """The arguments for some rows."""
        picked = [value[rows] for value in self.values]
        return (Keywords(zip(self.names, picked, strict=True)),) if self.names else tuple(picked)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """The arguments for all rows in order, ``batch_size`` at a time."""
        for begin in range(0, len(self), batch_size):
            yield self.pick(slice(begin, begin + batch_size))


def is_in_memory(data: Any) -> bool:
    """Whether data of this kind make :class:`Columns`."""
    import numpy as np

    return isinstance(data, (Tensor, np.ndarray, np.generic, Split, Mapping, tuple, list))


def as_argument(value: Any, is_data: bool, device: torch.device, dtype: torch.dtype, name: str) -> Tensor:
    """A tensor or array as an argument of model and guide; see :class:`Columns`."""
    import numpy as np

    if isinstance(value, (np.ndarray, np.generic)):
        value = from_array(value, name)
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor or NumPy array, got {type(value).__name__}")
    tensors(**{name: value})
    if value.is_floating_point() or (is_data and value.dtype in (torch.bool, torch.uint8)):
        return value.to(device, dtype)
    return value.to(device, value.dtype if value.dtype in (torch.bool, torch.int64) else torch.int64)


def from_array(array: Any, name: str) -> Tensor:
    """A NumPy array of real numbers as a tensor, which has no mask."""
    import numpy as np

    if array.dtype.kind not in "fbiu":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype}")
    if np.ma.isMaskedArray(array):
        raise TypeError(f"{name} must be an array without a mask, got a masked one: pass its .filled() and the mask")
    with warnings.catch_warnings():  # of arrays that cannot be written to, as memory maps of files: nobody writes here
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False)))


def device_and_dtype(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Those of a module's first parameter or floating-point buffer; else the defaults of PyTorch.

    Example:
        >>> device_and_dtype(nn.Linear(2, 1).double())
        (device(type='cpu'), torch.float64)
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.get_default_device(), torch.get_default_dtype()
