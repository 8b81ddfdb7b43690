"""Weight of the KL term and concentration of the sticks of a stick-breaking LSTM, at an eighth of the budget."""

from pyrodgm.zoo import adaptive_language_model
from pyrodgm.zoo.tables.table import Column, Row, Table

PENN_TREEBANK_SEARCH = Table(
    name="penn_treebank_search",
    system=adaptive_language_model.SYSTEM,
    flags={
        "data": "ptb",
        "model": "stick-breaking-lstm",
        "hidden": 256,
        "batch_size": 32,
        "updates": 2500,
        "valid_every": 500,
        "valid_symbols": 100_000,
        "test_symbols": 100_000,
        "ensemble": 2,
    },
    rows=tuple(
        Row(f"weight {weight:g}, concentration {prior:g}", {"kl_weight": weight, "concentration": prior})
        for prior in (1.0, 3.0)
        for weight in (0.001, 0.01, 0.1)
    ),
    title="validation bits per character",
    value=("valid_bits",),
    error=(),
    higher=False,
    estimator="one draw of the weights",
    period="times 500 updates",
    columns=(
        Column("test bits per character", (("test", "ens. 1", "bits"),), "{:.3f}"),
        Column("by mean weights", (("test", "mean weights", "bits"),), "{:.3f}"),
        Column("mean inner step", (("test", "ens. 1", "mean_step"),), "{:.3f}"),
    ),
)
