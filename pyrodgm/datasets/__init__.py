"""Readers of the public data sets in the formats in which people find them."""

from pyrodgm.datasets.anndata import AnnDataRows
from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.evenly_spaced import evenly_spaced
from pyrodgm.datasets.hide_labels import hide_labels
from pyrodgm.datasets.hugging_face import hugging_face_shards
from pyrodgm.datasets.pca import pca
from pyrodgm.datasets.registry import load
from pyrodgm.datasets.resplit import resplit
from pyrodgm.datasets.sentences import limit_sentences, sentences
from pyrodgm.datasets.shards import Shards
from pyrodgm.datasets.split import Split
from pyrodgm.datasets.text import Text, stream_batches
from pyrodgm.datasets.texts import load_text

__all__ = [
    "AnnDataRows",
    "Dataset",
    "Shards",
    "Split",
    "Text",
    "evenly_spaced",
    "hide_labels",
    "hugging_face_shards",
    "limit_sentences",
    "load",
    "load_text",
    "pca",
    "resplit",
    "sentences",
    "stream_batches",
]
