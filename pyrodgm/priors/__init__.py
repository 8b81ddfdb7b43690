"""Priors: modules that are called without arguments and return a distribution over the latents."""

from pyrodgm.datasets.training_indices import current_rows, training_rows
from pyrodgm.priors.boltzmann import BoltzmannPrior
from pyrodgm.priors.categorical import CategoricalPrior
from pyrodgm.priors.exemplar import ExemplarPrior
from pyrodgm.priors.gaussian_components import GaussianComponents
from pyrodgm.priors.gem import GEMPrior
from pyrodgm.priors.library import LibraryPrior
from pyrodgm.priors.mixture_of_gaussians import MixtureOfGaussians
from pyrodgm.priors.standard_normal import StandardNormal
from pyrodgm.priors.symmetric_dirichlet import SymmetricDirichletPrior
from pyrodgm.priors.vamp import VampPrior

__all__ = [
    "BoltzmannPrior",
    "CategoricalPrior",
    "ExemplarPrior",
    "GEMPrior",
    "GaussianComponents",
    "LibraryPrior",
    "MixtureOfGaussians",
    "StandardNormal",
    "SymmetricDirichletPrior",
    "VampPrior",
    "current_rows",
    "training_rows",
]
