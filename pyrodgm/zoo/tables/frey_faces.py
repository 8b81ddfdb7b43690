"""One and two stochastic layers on Frey faces, with the rate that the validation bound chooses of the paper's two."""

from pyrodgm.zoo import vampprior
from pyrodgm.zoo.tables.table import Column, Row, Table, by_encoder

IMAGES = {"prior": "vampprior", "pseudo_inputs": "images"}

FREY_FACES = Table(
    name="frey_faces",
    system=vampprior.SYSTEM,
    flags={"data": "frey_faces", "epochs": 300, "warmup": 50.0, "patience": None, "encoder_samples": 5000},
    rows=(
        Row("VAE, standard normal", {"model": "vae", "prior": "standard"}),
        Row("VAE, VampPrior", {"model": "vae", **IMAGES}),
        Row("HVAE, standard normal", {"model": "hvae", "prior": "standard"}),
        Row("HVAE, VampPrior", {"model": "hvae", **IMAGES}),
    ),
    search={"learning_rate": (1e-4, 5e-4)},
    columns=(
        by_encoder(5000),
        Column("bits per dimension", (("bits_per_dimension",),), "{:.3f}"),
        Column("ELBO", (("elbo",),)),
    ),
)
