"""Checks of pairs, priors, distributions and estimators that others write, and random programs with exact bounds."""

from pyrodgm.testing.check_distribution import check_distribution
from pyrodgm.testing.check_estimators import check_estimators
from pyrodgm.testing.check_gradients import check_gradients
from pyrodgm.testing.check_mixtures import check_mixtures
from pyrodgm.testing.check_pair import check_pair
from pyrodgm.testing.check_prior import check_prior
from pyrodgm.testing.features import Features
from pyrodgm.testing.mixture_pair import MixtureFeatures, MixturePair, random_mixtures
from pyrodgm.testing.programs import programs, random_programs
from pyrodgm.testing.random_pair import RandomPair

__all__ = [
    "Features",
    "MixtureFeatures",
    "MixturePair",
    "RandomPair",
    "check_distribution",
    "check_estimators",
    "check_gradients",
    "check_mixtures",
    "check_pair",
    "check_prior",
    "programs",
    "random_mixtures",
    "random_programs",
]
