"""Readers of the public data sets in the formats in which people find them."""

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.registry import load
from pyrodgm.datasets.split import Split

__all__ = ["Dataset", "Split", "load"]
