"""NADE of the published size on static MNIST, and its stick-breaking form with as many parameters."""

from pyrodgm.zoo import stick_breaking_nade
from pyrodgm.zoo.tables.table import Row, Table

NADE = Table(
    name="nade",
    system=stick_breaking_nade.SYSTEM,
    flags={"data": "static_mnist", "epochs": 300, "patience": 20},
    rows=(
        Row("NADE, 500 units", {"model": "nade", "hidden": 500}, -88.33),
        Row(
            "stick-breaking NADE, 398 units, 2 steps",
            {"model": "stick-breaking", "hidden": 398, "max_steps": 2, "concentration": 10.0},
            -81.58,
            "slides, size unknown",
        ),
    ),
    value=("test", "log_likelihood", "mean"),
    error=("test", "log_likelihood", "standard_error"),
    estimator="exact; of the stick-breaking form importance sampling pixel by pixel",
)
