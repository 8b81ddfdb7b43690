"""Checks of pairs, priors, distributions and estimators that others write, and random programs with exact bounds."""

from pyrodgm.testing.check_distribution import check_distribution
from pyrodgm.testing.check_estimators import check_estimators
from pyrodgm.testing.check_pair import check_pair
from pyrodgm.testing.check_prior import check_prior
from pyrodgm.testing.programs import programs, random_programs
from pyrodgm.testing.random_pair import Features, RandomPair

__all__ = [
    "Features",
    "RandomPair",
    "check_distribution",
    "check_estimators",
    "check_pair",
    "check_prior",
    "programs",
    "random_programs",
]
