"""Published tables, one file each, and the registry by which the command line finds them.

A table is a declaration: the flags of a published system that its rows have, its seeds, and where its values lie in the
results of a run.
"""

from pyrodgm.zoo.tables.caltech101_silhouettes import CALTECH
from pyrodgm.zoo.tables.digits import DIGITS
from pyrodgm.zoo.tables.dvae_sharp import DVAE_SHARP
from pyrodgm.zoo.tables.dynamic_mnist import DYNAMIC_MNIST
from pyrodgm.zoo.tables.frey_faces import FREY_FACES
from pyrodgm.zoo.tables.grey_mnist import GREY_MNIST
from pyrodgm.zoo.tables.nade import NADE
from pyrodgm.zoo.tables.page import text, write_into
from pyrodgm.zoo.tables.penn_treebank import PENN_TREEBANK
from pyrodgm.zoo.tables.penn_treebank_search import PENN_TREEBANK_SEARCH
from pyrodgm.zoo.tables.runs import Finished, MissingResultError, best_runs, evaluate, finished_runs, train_missing
from pyrodgm.zoo.tables.static_mnist import STATIC_MNIST
from pyrodgm.zoo.tables.table import Column, Row, Table

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        STATIC_MNIST,
        DYNAMIC_MNIST,
        CALTECH,
        FREY_FACES,
        GREY_MNIST,
        DVAE_SHARP,
        NADE,
        PENN_TREEBANK_SEARCH,
        PENN_TREEBANK,
        DIGITS,
    )
}

__all__ = [
    "TABLES",
    "Column",
    "Finished",
    "MissingResultError",
    "Row",
    "Table",
    "best_runs",
    "evaluate",
    "finished_runs",
    "text",
    "train_missing",
    "write_into",
]
