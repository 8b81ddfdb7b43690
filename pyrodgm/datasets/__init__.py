"""Readers of the public data sets in the formats in which people find them."""

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.registry import load
from pyrodgm.datasets.split import Split
from pyrodgm.datasets.text import Text, stream_batches
from pyrodgm.datasets.texts import load_text

__all__ = ["Dataset", "Split", "Text", "load", "load_text", "stream_batches"]
