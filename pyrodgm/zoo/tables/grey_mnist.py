"""The stick-breaking VAE on grey MNIST, the published pseudo-likelihood, until 100 epochs bring nothing."""

from pyrodgm.zoo import stick_breaking_vae
from pyrodgm.zoo.tables.table import Column, Row, Table, by_encoder


def _neighbours(kind: str) -> Column:
    entries = tuple(("knn_error", f"z {kind} k={k}") for k in (3, 5, 10))
    return Column(f"kNN error of a {kind}, k = 3, 5, 10", entries, "{:.2%}")


GREY_MNIST = Table(
    name="grey_mnist",
    system=stick_breaking_vae.SYSTEM,
    flags={"data": "grey_mnist", "epochs": 2000, "patience": 100, "encoder_samples": 100},
    rows=(
        Row("Kumaraswamy", {"latents": "kumaraswamy"}, -98.01),
        Row("Beta", {"latents": "beta"}),
        Row("Gaussian", {"latents": "gaussian"}, -93.93, "slides: −96.80"),
    ),
    title="test log-likelihood of grey values, nats",
    compared=("encoder_log_likelihood",),
    columns=(by_encoder(100), _neighbours("sample"), _neighbours("mean")),
)
