"""Priors: modules that are called with nothing and return a distribution over the latents."""

from pyrodgm.priors.gaussian_components import GaussianComponents
from pyrodgm.priors.gem import GEMPrior
from pyrodgm.priors.mixture_of_gaussians import MixtureOfGaussians
from pyrodgm.priors.standard_normal import StandardNormal
from pyrodgm.priors.symmetric_dirichlet import SymmetricDirichletPrior
from pyrodgm.priors.vamp import VampPrior

__all__ = [
    "GEMPrior",
    "GaussianComponents",
    "MixtureOfGaussians",
    "StandardNormal",
    "SymmetricDirichletPrior",
    "VampPrior",
]
