"""Priors: modules that are called with nothing and return a distribution over the latents."""

from pyrodgm.priors.mixture_of_gaussians import MixtureOfGaussians
from pyrodgm.priors.standard_normal import StandardNormal
from pyrodgm.priors.vamp import VampPrior

__all__ = ["MixtureOfGaussians", "StandardNormal", "VampPrior"]
