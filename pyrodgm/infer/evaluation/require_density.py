"""Refusing likelihoods of models that have draws alone."""

from pyrodgm.distributions import Implicit, NoDensityError
from pyrodgm.infer.estimators.reading import counted, fn_of
from pyrodgm.infer.estimators.sites import Trace


def require_density(guide: Trace, model: Trace, of_guide: bool = False) -> None:
    """Raise NoDensityError for a site of the model, or of the guide, without a density; names it, and what to do.

    Args:
        guide: A trace of the guide.
        model: One of the model.
        of_guide: Whether the guide's density is needed too.
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
