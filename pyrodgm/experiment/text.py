"""Results of trained pairs as text."""

from collections.abc import Mapping

from pyrodgm.experiment.results import Results


def table(results: Mapping[str, Results]) -> str:
    """Results as an aligned text table, a row for each name; what is there for some alone has columns where it is.

    ``untrusted`` is the share of the images whose k-hat exceeds 0.7 or whose effective sample size is below 30, and
    ``later stage`` that of those that needed one.
    """
    grey = any(r.bits_per_dimension is not None for r in results.values())
    drawn = any(r.encoder_log_likelihood is not None for r in results.values())
    gaps = any(r.gap is not None for r in results.values())
    symbols = any(r.perplexity is not None for r in results.values())
    rows = [
        [
            "",
            "test log p(x)",
            *["by the encoder"] * drawn,
            *["bits/dim"] * grey,
            *["perplexity"] * symbols,
            *["gap of bounds", "of those not flagged"] * gaps,
            "ELBO",
            "active units",
        ]
    ]
    rows[0] += ["untrusted", "later stage", "s/epoch"]
    for name, r in results.items():
        units = ", ".join(f"{n}" if len(r.active_units) == 1 else f"{site} {n}" for site, n in r.active_units.items())
        rows.append(
            [
                name,
                f"{r.log_likelihood:.2f} ± {r.standard_error:.2f}",
                *[_with_error(r.encoder_log_likelihood, r.encoder_standard_error)] * drawn,
                *[_with_error(r.bits_per_dimension, r.bits_standard_error, 3)] * grey,
                *[_with_error(r.perplexity, r.perplexity_error)] * symbols,
                *[_with_error(r.gap, r.gap_error), _with_error(r.trusted_gap, r.trusted_gap_error)] * gaps,
                f"{r.elbo:.2f}",
                units,
                f"{100 * r.untrusted_share:.1f} %",
                "-" if r.later_share is None else f"{100 * r.later_share:.1f} %",
                "?" if r.seconds_per_epoch is None else f"{r.seconds_per_epoch:.3g}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def knn_summary(results: Results) -> str:
    """The errors of nearest neighbours as one line a latent site and kind; empty where there are none."""
    rows: dict[str, list[str]] = {}
    for name, error in results.knn_error.items():
        kind, k = name.rsplit(" ", 1)
        rows.setdefault(kind, []).append(f"{k} {100 * error:.2f} %")
    return "".join(f"\nkNN error by {kind}: {', '.join(errors)}" for kind, errors in rows.items())


def _with_error(value: float | None, error: float | None, digits: int = 2) -> str:
    return "-" if value is None or error is None else f"{value:.{digits}f} ± {error:.{digits}f}"
