"""Whether a transformed distribution is as far from another as what both are transformed from."""

from typing import Any

from torch.distributions import ComposeTransform, HalfCauchy, HalfNormal, TransformedDistribution, constraints

FOLDED = (HalfNormal, HalfCauchy)  # of distributions that are symmetric about the fold


def may_compare(q: Any, p: Any) -> bool:
    """Whether a registered divergence of two distributions is one, and no bound.

    PyTorch takes for that of two transformed distributions the divergence of what they are transformed from. Where two
    values have the same image, the divergence of the images is smaller (the data-processing inequality).
    """
    if all(is_one_to_one(fn) for fn in (q, p)):
        return True
    return any(isinstance(_inside(q), family) and isinstance(_inside(p), family) for family in FOLDED)


def is_one_to_one(fn: Any) -> bool:
    """Whether each transformation within a distribution is a bijection of what goes into it."""
    while fn is not None:
        if isinstance(fn, TransformedDistribution) and not _are_bijections(fn):
            return False
        fn = next((getattr(fn, name) for name in ("base_dist", "fraction", "fractions") if hasattr(fn, name)), None)
    return True


def _are_bijections(fn: TransformedDistribution) -> bool:
    whole_line = _is_real(_support(fn.base_dist))  # what goes into the next transformation
    for transform in _parts(fn.transforms):
        if not transform.bijective or (whole_line and not _is_real(transform.domain)):  # a power has a positive domain
            return False
        whole_line = whole_line and _is_real(transform.codomain)
    return True


def _parts(transforms: Any) -> list[Any]:
    return [p for t in transforms for p in (_parts(t.parts) if isinstance(t, ComposeTransform) else [t])]


def _support(fn: Any) -> Any:
    try:
        return fn.support
    except (AttributeError, NotImplementedError):  # it does not say
        return None


def _is_real(constraint: Any) -> bool:
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    if isinstance(constraint, (constraints.cat, constraints.stack)):
        return all(map(_is_real, constraint.cseq))
    return constraint is constraints.real


def _inside(fn: Any) -> Any:
    """A distribution without its wrappers."""
    while hasattr(fn, "base_dist") and not isinstance(fn, TransformedDistribution):
        fn = fn.base_dist
    return fn
