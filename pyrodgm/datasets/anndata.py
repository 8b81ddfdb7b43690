"""Rows of an AnnData object as data to train on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from pyrodgm.extras import needs_extra

if TYPE_CHECKING:
    from anndata import AnnData


class AnnDataRows(TorchDataset[dict[str, Tensor]]):
    """Counts of the cells of an AnnData object, and covariates of each, read by batches of rows.

    For :func:`pyrodgm.infer.fit`, which takes any torch ``Dataset``: rows of a sparse matrix become dense a batch at a
    time, so that the whole is never dense in memory; those of an object in backed mode are read from its file.

    Args:
        adata: The object; it is neither copied nor changed.
        layer: Name of the layer that holds the counts; None: ``X``.
        covariates: Names of columns of ``obs``. Numbers are taken as they are; categories, texts and truth values
            become one-hot, in the order of ``categories``.
        rows: Numbers of the rows that are meant, for a split; None: all. Categories are those of the whole object.

    Attributes:
        columns: What each covariate is, such as ``("batch=a", "batch=b", "age")``.

    A datum is ``{"x": [G]}``, with covariates ``{"x": [G], "covariates": [C]}``, in PyTorch's default dtype: the
    arguments of :class:`pyrodgm.models.CountVAE`.

    Raises:
        ImportError: If anndata is not installed (``pip install 'pyrodgm[anndata]'``).
        TypeError: If ``adata`` is no AnnData object.
        ValueError: If there is no such layer or column, or a covariate has missing or infinite values.
        IndexError: If a row number is out of range.
    """

    def __init__(
        self,
        adata: "AnnData",
        layer: str | None = None,
        covariates: Sequence[str] = (),
        rows: Sequence[int] | np.ndarray | Tensor | None = None,
    ) -> None:
        with needs_extra("anndata"):
            from anndata import AnnData
        if not isinstance(adata, AnnData):
            raise TypeError(f"adata must be an AnnData object, got {type(adata).__name__}")
        if layer is not None and layer not in adata.layers:
            known = ", ".join(adata.layers) or "none"
            raise ValueError(f"layer must be one of the layers of adata ({known}), got {layer!r}")
        if layer is None and adata.X is None:
            raise ValueError("layer must be given for an object without X, got None")
        self.adata, self.layer = adata, layer
        self.rows = np.arange(adata.n_obs) if rows is None else np.asarray(rows, dtype=np.int64)
        if len(self.rows) and not 0 <= self.rows.min() <= self.rows.max() < adata.n_obs:
            raise IndexError(
                f"rows must lie between 0 and {adata.n_obs - 1}, got {self.rows.min()} to {self.rows.max()}"
            )
        parts = [_columns(adata.obs, name) for name in covariates]
        self.columns = tuple(name for names, _ in parts for name in names)
        values = np.concatenate([value for _, value in parts], 1) if parts else np.zeros((adata.n_obs, 0))
        self.covariates = torch.from_numpy(values).to(torch.get_default_dtype())

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Tensor]]:
        """Several data at once; a ``DataLoader`` asks for a batch so."""
        rows = self.rows[np.asarray(indices, dtype=np.int64)]
        order, inverse = np.unique(rows, return_inverse=True)  # files are read in order, each row once
        matrix = self.adata.X if self.layer is None else self.adata.layers[self.layer]
        block = matrix[order]
        dense = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
        x = torch.from_numpy(np.ascontiguousarray(dense[inverse.ravel()])).to(torch.get_default_dtype())
        if not self.columns:
            return [{"x": row} for row in x]
        pairs = zip(x, self.covariates[rows], strict=True)
        return [{"x": row, "covariates": others} for row, others in pairs]


def _columns(obs: Any, name: str) -> tuple[list[str], np.ndarray]:
    """A column of ``obs`` as names and numbers ``[N, C]``."""
    if name not in obs:
        raise ValueError(f"covariates must be columns of obs ({', '.join(map(str, obs.columns))}), got {name!r}")
    column = obs[name]
    if column.isna().any():
        raise ValueError(f"covariates must have no missing values, got {int(column.isna().sum())} in {name!r}")
    if column.dtype.kind in "fiu":
        values = column.to_numpy(dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError(f"covariates must be finite, got infinite values in {name!r}")
        return [name], values[:, None]
    category = column.astype("category").cat
    one_hot = np.equal.outer(category.codes.to_numpy(), np.arange(len(category.categories))).astype(np.float64)
    return [f"{name}={value}" for value in category.categories], one_hot
