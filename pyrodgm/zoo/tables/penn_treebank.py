"""Recurrent networks of equal size on the characters of the Penn Treebank."""

from pyrodgm.zoo import adaptive_language_model
from pyrodgm.zoo.tables.table import Column, Row, Table

SLIDES = "slides, 1,000 units"

PENN_TREEBANK = Table(
    name="penn_treebank",
    system=adaptive_language_model.SYSTEM,
    flags={"data": "ptb", "embedding": 64, "batch_size": 32, "updates": 20_000, "hidden": 256},
    rows=(
        Row("GRU, 297 units", {"model": "gru", "hidden": 297}, 1.34, SLIDES),
        Row("LSTM, 256 units", {"model": "lstm"}, 1.35, SLIDES),
        Row("stick-breaking LSTM, 256 units", {"model": "stick-breaking-lstm"}, 1.27, SLIDES),
        Row("ACT-LSTM, 256 units", {"model": "act-lstm"}, 1.30, SLIDES),
    ),
    title="test bits per character",
    value=("test", "ens. 1", "bits"),
    error=(),
    higher=False,
    estimator="one draw of the weights, where there are any",
    period="times 1,000 updates",
    seeds=3,
    columns=(Column("mean inner step", (("test", "ens. 1", "mean_step"),)),),
)
