"""A small table on scikit-learn's digits, of a minute or two."""

from pyrodgm.zoo import vampprior
from pyrodgm.zoo.tables.table import Column, Row, Table

DIGITS = Table(
    name="digits",
    system=vampprior.SYSTEM,
    flags={
        "data": "digits",
        "latent": 8,
        "hidden": (64,),
        "components": 50,
        "epochs": 60,
        "warmup": 15.0,
        "patience": None,
        "optimizer": "adam",
        "learning_rate": 2e-3,
        "num_samples": 500,
    },
    rows=(
        Row("standard normal", {"prior": "standard"}),
        Row("VampPrior, 50 pseudo-inputs", {"prior": "vampprior"}),
    ),
    seeds=3,
    columns=(Column("ELBO", (("elbo",),)),),
)
