"""One and two stochastic layers on static MNIST under each prior, to early stopping by the published rule."""

from pyrodgm.zoo import vampprior
from pyrodgm.zoo.tables.table import Column, Row, Table, by_encoder

VAMPPRIOR = "VampPrior, 500 pseudo-inputs"

STATIC_MNIST = Table(
    name="static_mnist",
    system=vampprior.SYSTEM,
    flags={"data": "static_mnist", "model": "vae", "encoder_samples": 5000},
    rows=(
        Row("standard normal", {"prior": "standard"}, -88.56),
        Row("mixture of 500 Gaussians", {"prior": "mixture"}),
        Row("VampPrior, 500 training images", {"prior": "vampprior-data"}),
        Row(f"{VAMPPRIOR}, from the mean", {"prior": "vampprior"}, -85.57),
        Row(f"{VAMPPRIOR}, from training images", {"prior": "vampprior", "pseudo_inputs": "images"}, -85.57),
        Row("exemplar, all 50,000 images", {"prior": "exemplar"}),
        Row("HVAE, standard normal", {"model": "hvae", "prior": "standard"}),
        Row(
            f"HVAE, {VAMPPRIOR}, from training images",
            {"model": "hvae", "prior": "vampprior", "pseudo_inputs": "images"},
            -83.19,
        ),
        Row("HVAE, exemplar, all 50,000 images", {"model": "hvae", "prior": "exemplar"}),
    ),
    compared=("encoder_log_likelihood",),
    columns=(by_encoder(5000), Column("ELBO", (("elbo",),))),
)
