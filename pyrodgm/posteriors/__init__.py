"""Approximate posteriors: modules that are called with the data and return a distribution over the latents."""

from pyrodgm.distributions import RecurrentSticks
from pyrodgm.posteriors.binary_latents import ConcreteLatents, GaussianIntegralLatents, OverlappingLatents, SpikeLatents
from pyrodgm.posteriors.categorical import CategoricalPosterior
from pyrodgm.posteriors.flow import FlowPosterior
from pyrodgm.posteriors.gaussian import GaussianPosterior
from pyrodgm.posteriors.gaussian_mixture import GaussianMixturePosterior, WeightedGaussians
from pyrodgm.posteriors.hierarchical import HierarchicalPosterior
from pyrodgm.posteriors.implicit import ImplicitPosterior
from pyrodgm.posteriors.library import LibraryPosterior
from pyrodgm.posteriors.precision_weighted import PrecisionWeightedPosterior
from pyrodgm.posteriors.stick_breaking import StickBreakingPosterior

__all__ = [
    "CategoricalPosterior",
    "ConcreteLatents",
    "FlowPosterior",
    "GaussianIntegralLatents",
    "GaussianMixturePosterior",
    "GaussianPosterior",
    "HierarchicalPosterior",
    "ImplicitPosterior",
    "LibraryPosterior",
    "OverlappingLatents",
    "PrecisionWeightedPosterior",
    "RecurrentSticks",
    "SpikeLatents",
    "StickBreakingPosterior",
    "WeightedGaussians",
]
