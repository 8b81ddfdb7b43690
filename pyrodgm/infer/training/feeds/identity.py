"""What data of any kind are, for comparing them when a run is resumed and for finding them again."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from pyrodgm.datasets import Dataset, Split, Text
from pyrodgm.infer.training.checkpoint import digest


def describe_data(data: Any, valid: Any = None) -> dict[str, Any]:
    """Kind, size and digest of training and validation data, as JSON can hold them.

    Of a stream (a ``DataLoader``, a data set of PyTorch that is none of tensors) class and length are known here; its
    feed adds a digest of the first batch.
    """
    if isinstance(data, Dataset):
        described: dict[str, Any] = {"name": data.name, "image_shape": list(data.image_shape)}
        described |= {"values": data.values, "binarization": data.binarization}
        described["training"], valid = _describe(data.train), data.valid if valid is None else valid
    elif isinstance(data, Text):
        described = {"name": data.name, "training": _describe(data.train)}
        valid = data.valid if valid is None else valid
    else:
        described = {"training": _describe(data)}
    return described | ({} if valid is None else {"validation": _describe(valid)})


def _describe(data: Any) -> dict[str, Any]:
    if isinstance(data, DataLoader):
        described = {"loader": type(data).__name__, "batch_size": data.batch_size, "drop_last": data.drop_last}
        described["sampler"] = type(data.sampler).__name__
        if isinstance(data.dataset, IterableDataset):  # its batches depend on the number of processes that make them
            described["num_workers"] = data.num_workers
        return {**described, **_describe(data.dataset)}
    if isinstance(data, TensorDataset):
        data = data.tensors
    columns = _tensors(data)
    if columns:
        return {"rows": len(next(iter(columns.values()))), "digest": digest(columns)}
    try:
        return {"class": type(data).__qualname__, "rows": len(data)}
    except TypeError:
        return {"class": type(data).__qualname__}


def _tensors(data: Any) -> dict[str, Tensor]:
    """The columns of data in memory; none of a stream."""
    if isinstance(data, Split):
        data = {"images": data.images} | ({} if data.labels is None else {"labels": data.labels})
    if isinstance(data, (Tensor, np.ndarray)):
        data = (data,)
    columns = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, tuple) else ()
    return {str(name): torch.as_tensor(column) for name, column in columns}
