"""Likelihoods: modules that are called with the latents and return a distribution over the data."""

from pyrodgm.distributions import GreyBernoulli
from pyrodgm.likelihoods.bernoulli import BernoulliLikelihood
from pyrodgm.likelihoods.categorical import CategoricalLikelihood
from pyrodgm.likelihoods.counts import NegativeBinomialLikelihood, PoissonLikelihood
from pyrodgm.likelihoods.discretized_logistic import DiscretizedLogisticLikelihood
from pyrodgm.likelihoods.gaussian import GaussianLikelihood
from pyrodgm.likelihoods.grey_bernoulli import GreyBernoulliLikelihood
from pyrodgm.likelihoods.implicit import ImplicitLikelihood
from pyrodgm.likelihoods.pixelcnn import PixelCNNLikelihood
from pyrodgm.likelihoods.sentences import SentenceLikelihood

__all__ = [
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "DiscretizedLogisticLikelihood",
    "GaussianLikelihood",
    "GreyBernoulli",
    "GreyBernoulliLikelihood",
    "ImplicitLikelihood",
    "NegativeBinomialLikelihood",
    "PixelCNNLikelihood",
    "PoissonLikelihood",
    "SentenceLikelihood",
]
