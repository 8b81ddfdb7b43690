"""Reject likelihood estimates for models with implicit sites, which have draws but no density."""

from pyrodgm.distributions import Implicit, NoDensityError
from pyrodgm.infer.estimators.reading import counted, fn_of
from pyrodgm.infer.estimators.sites import Trace


def require_density(guide: Trace, model: Trace, of_guide: bool = False) -> None:
    """Raise NoDensityError if a site of the model has no density; the message names the site and what to do instead.

    Args:
        guide: A trace of the guide.
        model: A trace of the model.
        of_guide: Whether the sites of the guide need a density too.
    """
    for site in (*counted(model), *(counted(guide) if of_guide else ())):
        if not isinstance(fn_of(site), Implicit):
            continue
        state = "give a GAN observation noise by its method with_density(scale), and state the scale"
        refined = "use proposal='refined', whose density is known"
        compare = "compare draws by knn_two_sample or precision_recall"
        advice = state if site["is_observed"] else refined if site["name"] in guide and of_guide else compare
        raise NoDensityError(
            f"site '{site['name']}' has draws alone, not a density, so that log p(x) cannot be evaluated: {advice}"
        )
