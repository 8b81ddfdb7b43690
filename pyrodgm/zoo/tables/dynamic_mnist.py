"""The VAE with one stochastic layer on MNIST binarised anew for each batch, to early stopping by the published rule."""

from pyrodgm.zoo import vampprior
from pyrodgm.zoo.tables.table import Column, Row, Table, by_encoder

NOROUZI = "Norouzi et al."

DYNAMIC_MNIST = Table(
    name="dynamic_mnist",
    system=vampprior.SYSTEM,
    flags={"data": "mnist", "model": "vae", "encoder_samples": 5000},
    rows=(
        Row("standard normal", {"prior": "standard"}, -84.45, NOROUZI),
        Row(
            "VampPrior, 500 pseudo-inputs, from training images",
            {"prior": "vampprior", "pseudo_inputs": "images"},
            -82.43,
            NOROUZI,
        ),
    ),
    compared=("encoder_log_likelihood",),
    columns=(by_encoder(5000), Column("ELBO", (("elbo",),))),
)
