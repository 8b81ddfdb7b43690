"""Refusing models that observe nothing."""

from collections.abc import Iterable

from pyrodgm.infer.estimators.sites import Site


def require_observed(sites: Iterable[Site]) -> None:
    """Require that a model observes something: its bound is at most 0 and its likelihood 1, whatever the data are.

    Args:
        sites: The sample sites of the model that count; those of ``pyro.factor`` are observed.

    Raises:
        ValueError: If none is observed; names them.
    """
    names = []
    for site in sites:
        if site["is_observed"]:
            return
        names.append(f"'{site['name']}'")
    drawn = f"draws {', '.join(names)} and observes nothing" if names else "has no sample site"
    raise ValueError(
        f"pair must have a model that observes data, at a site with obs= or by pyro.factor, got one that {drawn}"
    )
