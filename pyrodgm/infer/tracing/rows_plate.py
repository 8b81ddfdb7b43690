"""Which plate of a program is that of the data."""

from typing import Any

PARTICLES = "num_particles_vectorized"  # Pyro's name of the plate that estimators add


def plate_of(site: Any, rows: int) -> Any:
    """The plate over ``rows`` data that a site lies in: the outermost of that size; None where there is none.

    Plates inside it may have as many elements by chance, and that of an estimator's particles is no program's.
    """
    frames = (f for f in site["cond_indep_stack"] if f.name != PARTICLES and f.size == rows)
    return next(frames, None)


def full_size(plate: Any) -> int:
    """The size of the plate itself, of which a program may see a subsample."""
    size: int = plate.full_size or plate.size
    return size
