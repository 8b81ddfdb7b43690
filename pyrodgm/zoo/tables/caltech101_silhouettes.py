"""One and two stochastic layers on Caltech 101 Silhouettes, with the rate and the warm-up that the bound chooses."""

from pyrodgm.zoo import vampprior
from pyrodgm.zoo.tables.table import Column, Row, Table, by_encoder

IMAGES = {"prior": "vampprior", "pseudo_inputs": "images"}

CALTECH = Table(
    name="caltech101_silhouettes",
    system=vampprior.SYSTEM,
    flags={"data": "caltech101_silhouettes", "encoder_samples": 5000},
    rows=(
        Row("VAE, standard normal", {"model": "vae", "prior": "standard"}, -123.43),
        Row("VAE, VampPrior", {"model": "vae", **IMAGES}, -114.55),
        Row("HVAE, standard normal", {"model": "hvae", "prior": "standard"}, -112.08),
        Row("HVAE, VampPrior", {"model": "hvae", **IMAGES}, -108.28),
    ),
    search={"learning_rate": (1e-4, 5e-4), "warmup": (50.0, 100.0)},
    compared=("encoder_log_likelihood",),
    columns=(by_encoder(5000), Column("ELBO", (("elbo",),))),
)
