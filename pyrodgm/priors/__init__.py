"""Priors: modules that are called with nothing and return a distribution over the latents."""

from pyrodgm.priors.categorical import CategoricalPrior
from pyrodgm.priors.gem import GEMPrior
from pyrodgm.priors.mixture_of_gaussians import MixtureOfGaussians
from pyrodgm.priors.standard_normal import StandardNormal
from pyrodgm.priors.vamp import VampPrior

__all__ = ["CategoricalPrior", "GEMPrior", "MixtureOfGaussians", "StandardNormal", "VampPrior"]
