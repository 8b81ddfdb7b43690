"""DVAE# with the power-function and the exponential smoothing on static MNIST, 100,000 steps, 1, 5 and 25 samples."""

from pyrodgm.zoo import dvae
from pyrodgm.zoo.tables.table import Column, Row, Table

METHODS = {"power": "dvaes_power", "exponential": "dvaes_exp"}

DVAE_SHARP = Table(
    name="dvae_sharp",
    system=dvae.SYSTEM,
    flags={"data": "static_mnist", "struct": "1-layer-nonlin", "epochs": 200, "valid_every": 20},
    rows=tuple(
        Row(f"{smoothing}, K = {k}", {"model": method, "particles": k})
        for smoothing, method in METHODS.items()
        for k in (1, 5, 25)
    ),
    estimator="importance sampling by the encoder's bits",
    columns=(Column("ELBO of the bits", (("elbo",),)),),
)
