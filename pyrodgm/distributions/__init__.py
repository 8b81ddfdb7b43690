"""Densities, samplers and divergences, in log space; no trainable state."""

from pyrodgm.distributions.autoregressive_images import AutoregressiveImages
from pyrodgm.distributions.boltzmann_machine import BoltzmannMachine
from pyrodgm.distributions.diag_normal_mixture import DiagNormalMixture
from pyrodgm.distributions.discretized_logistic import DiscretizedLogistic
from pyrodgm.distributions.divergences import (
    bits_divergence,
    divergence_given,
    kl_kumaraswamy_beta_series,
    kl_mixture_bound,
)
from pyrodgm.distributions.factorized_bernoulli import FactorizedBernoulli
from pyrodgm.distributions.factorized_categorical import FactorizedCategorical
from pyrodgm.distributions.flow import FlowDistribution
from pyrodgm.distributions.gaussian_integral import GaussianIntegralBoltzmann
from pyrodgm.distributions.gem import GEM, GEMLogits
from pyrodgm.distributions.grey_bernoulli import GreyBernoulli
from pyrodgm.distributions.gumbolt import ContinuedBernoulli, ContinuedBoltzmann
from pyrodgm.distributions.hierarchical import Hierarchical
from pyrodgm.distributions.implicit import Implicit, NoDensityError
from pyrodgm.distributions.isotropic_normal_mixture import IsotropicNormalMixture
from pyrodgm.distributions.kumaraswamy import Kumaraswamy
from pyrodgm.distributions.logit_normal import LogitNormal
from pyrodgm.distributions.logits import BetaLogit, GammaRatioLogit, KumaraswamyLogit, LogitOf, NormalLogit
from pyrodgm.distributions.logits_of import logits_of
from pyrodgm.distributions.negative_binomial_counts import NegativeBinomialCounts, ZeroInflatedNegativeBinomialCounts
from pyrodgm.distributions.overlapping_bernoulli import OverlappingBernoulli
from pyrodgm.distributions.poisson_counts import PoissonCounts
from pyrodgm.distributions.recurrent_sticks import RecurrentSticks
from pyrodgm.distributions.relaxed_boltzmann import RelaxedBoltzmann
from pyrodgm.distributions.relaxed_categoricals import ContinuedCategorical, OverlappingCategorical
from pyrodgm.distributions.sentences import Sentences
from pyrodgm.distributions.small_shape_gamma_ratio import SmallShapeGammaRatio
from pyrodgm.distributions.smoothing import (
    ExponentialSmoothing,
    GaussianSmoothing,
    PowerSmoothing,
    Smoothing,
    UniformExponentialSmoothing,
)
from pyrodgm.distributions.spike_boltzmann import SpikeBoltzmann
from pyrodgm.distributions.spike_exponential import SpikeExponential
from pyrodgm.distributions.stick_breaking import StickBreaking
from pyrodgm.distributions.stick_logits import StickLogits
from pyrodgm.distributions.sticks import (
    first_sticks,
    fractions_to_weights,
    log_of_weights,
    sticks_to_mass,
    weights_to_fractions,
)
from pyrodgm.distributions.visible_boltzmann import VisibleBoltzmann

__all__ = [
    "GEM",
    "AutoregressiveImages",
    "BetaLogit",
    "BoltzmannMachine",
    "ContinuedBernoulli",
    "ContinuedBoltzmann",
    "ContinuedCategorical",
    "DiagNormalMixture",
    "DiscretizedLogistic",
    "ExponentialSmoothing",
    "FactorizedBernoulli",
    "FactorizedCategorical",
    "FlowDistribution",
    "GEMLogits",
    "GammaRatioLogit",
    "GaussianIntegralBoltzmann",
    "GaussianSmoothing",
    "GreyBernoulli",
    "Hierarchical",
    "Implicit",
    "IsotropicNormalMixture",
    "Kumaraswamy",
    "KumaraswamyLogit",
    "LogitNormal",
    "LogitOf",
    "NegativeBinomialCounts",
    "NoDensityError",
    "NormalLogit",
    "OverlappingBernoulli",
    "OverlappingCategorical",
    "PoissonCounts",
    "PowerSmoothing",
    "RecurrentSticks",
    "RelaxedBoltzmann",
    "Sentences",
    "SmallShapeGammaRatio",
    "Smoothing",
    "SpikeBoltzmann",
    "SpikeExponential",
    "StickBreaking",
    "StickLogits",
    "UniformExponentialSmoothing",
    "VisibleBoltzmann",
    "ZeroInflatedNegativeBinomialCounts",
    "bits_divergence",
    "divergence_given",
    "first_sticks",
    "fractions_to_weights",
    "kl_kumaraswamy_beta_series",
    "kl_mixture_bound",
    "log_of_weights",
    "logits_of",
    "sticks_to_mass",
    "weights_to_fractions",
]
