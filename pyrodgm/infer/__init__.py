"""Estimators, training and evaluation for any model/guide pair."""

from pyrodgm.infer.bits import Bits, bits_per_symbol
from pyrodgm.infer.checkpoint import DamagedFileError, load_weights, save_weights
from pyrodgm.infer.elbo import ELBO
from pyrodgm.infer.fit import FitResult, fit
from pyrodgm.infer.fit_text import TextFitResult, fit_text
from pyrodgm.infer.gradients import gradient_snr
from pyrodgm.infer.importance import LogLikelihood, log_likelihood
from pyrodgm.infer.iwelbo import IWELBO
from pyrodgm.infer.metrics import (
    active_units,
    classification_error,
    knn_error,
    knn_errors,
    posterior_means,
    posterior_samples,
    unit_variances,
)
from pyrodgm.infer.mixture_density import MixtureDensityELBO
from pyrodgm.infer.nonfinite import NonFiniteError
from pyrodgm.infer.optim import AdamNormGrad, PiecewiseConstant, decay_groups
from pyrodgm.infer.predict import reconstruct, sample
from pyrodgm.infer.schedules import BurdaSchedule
from pyrodgm.infer.semi_supervised import SemiSupervisedELBO
from pyrodgm.infer.step import TrainStep
from pyrodgm.infer.stratified import StratifiedELBO, StratifiedIWELBO

__all__ = [
    "ELBO",
    "IWELBO",
    "AdamNormGrad",
    "Bits",
    "BurdaSchedule",
    "DamagedFileError",
    "FitResult",
    "LogLikelihood",
    "MixtureDensityELBO",
    "NonFiniteError",
    "PiecewiseConstant",
    "SemiSupervisedELBO",
    "StratifiedELBO",
    "StratifiedIWELBO",
    "TextFitResult",
    "TrainStep",
    "active_units",
    "bits_per_symbol",
    "classification_error",
    "decay_groups",
    "fit",
    "fit_text",
    "gradient_snr",
    "knn_error",
    "knn_errors",
    "load_weights",
    "log_likelihood",
    "posterior_means",
    "posterior_samples",
    "reconstruct",
    "sample",
    "save_weights",
    "unit_variances",
]
